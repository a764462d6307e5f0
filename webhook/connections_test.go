package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/pkitest"
	"github.com/jobgate/jobgate/webhook"
)

// closedWithin is the contract: how long a connection may stay open that the client CA does not vouch for.
const closedWithin = 10 * time.Second

// asker is a client with one connection.
type asker struct {
	client *http.Client
	closed chan struct{} // once the other end has closed the connection
	url    string
}

// watched tells when a connection can be read no more.
type watched struct {
	net.Conn
	closed func()
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.closed()
	}
	return n, err
}

func newAsker(t *testing.T, address string, roots *x509.CertPool, pair tls.Certificate, protocol int) *asker {
	t.Helper()
	a := &asker{closed: make(chan struct{}), url: "https://" + address + "/authenticate"}
	once := sync.OnceFunc(func() { close(a.closed) })
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}},
		ForceAttemptHTTP2: protocol == 2,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			return watched{c, once}, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	a.client = &http.Client{Transport: transport}
	return a
}

// ask sends a review, and says over which protocol and whether over the connection of before.
func (a *asker) ask(ctx context.Context) (protocol int, reused bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, strings.NewReader(review("v1", secret)))
	if err != nil {
		return 0, false, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(request)
	if err != nil {
		return 0, false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, false, fmt.Errorf("answered %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body) // for the connection to be used again
	return response.ProtoMajor, reused, err
}

func (a *asker) wantClosed(t *testing.T) {
	t.Helper()
	select {
	case <-a.closed:
	case <-time.After(closedWithin):
		t.Errorf("the connection is still open after %s", closedWithin)
	}
}

// The API server's key and the CA's were stolen. Once the CA is replaced, a connection that the thief has opened before ends,
// and that of a client of another trusted CA does not.
func TestServer_ClosesConnectionsThatTheClientCANoLongerVouchesFor(t *testing.T) {
	for _, protocol := range []int{1, 2} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("HTTP/%d, busy %t", protocol, busy), func(t *testing.T) {
				t.Parallel()
				checkClosing(t, protocol, busy)
			})
		}
	}
}

func checkClosing(t *testing.T, protocol int, busy bool) {
	p := certs.OpenPKI(filepath.Join(t.TempDir(), "pki"))
	must[[]certs.Change](t)(p.Issue(certs.Request{}))
	friends := must[*pkitest.Authority](t)(pkitest.NewAuthority("friends-ca"))
	addCA(t, filepath.Join(p.Dir(), certs.CAFile), friends)
	stolen := must[tls.Certificate](t)(loadPair(filepath.Join(p.Dir(), certs.ClientFile)))
	files := must[pkitest.Files](t)(friends.IssueClient(t.TempDir(), "friend"))
	friendly := must[tls.Certificate](t)(tls.LoadX509KeyPair(files.Cert, files.Key))

	entered, release := make(chan struct{}, 2), make(chan struct{})
	hold := tokens(func(ctx context.Context, _ string) (*authenticator.Response, bool, error) {
		if !busy {
			return &authenticator.Response{User: someUser}, true, nil
		}
		entered <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return &authenticator.Response{User: someUser}, true, ctx.Err()
	})
	address := serveTrusting(t, p, webhook.NewHandler(hold, noOpinion, nil))
	roots := bundleOf(t, p)
	thief, friend := newAsker(t, address, roots, stolen, protocol), newAsker(t, address, roots, friendly, protocol)
	asked := map[*asker]chan error{thief: make(chan error, 1), friend: make(chan error, 1)}
	for a, answer := range asked {
		go func() {
			got, _, err := a.ask(t.Context())
			if err == nil && got != protocol {
				err = fmt.Errorf("the protocol is HTTP/%d", got)
			}
			answer <- err
		}()
		if busy {
			<-entered
		} else if err := <-answer; err != nil {
			t.Fatal(err)
		}
	}

	must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
	thief.wantClosed(t)
	close(release)
	if busy {
		if err := <-asked[thief]; err == nil {
			t.Error("the thief's review was answered")
		}
		if err := <-asked[friend]; err != nil {
			t.Errorf("the friend's review in flight: %v", err)
		}
	}
	if _, reused, err := friend.ask(t.Context()); err != nil || !reused {
		t.Errorf("the friend's next review: %v; over the same connection: %t", err, reused)
	}
	if _, _, err := thief.ask(t.Context()); err == nil {
		t.Error("the thief is let in again")
	}
}

// A connection may have been opened before the client CA changed, and ask for the first time after.
func TestServer_ChecksAConnectionThatHasAskedNothingYet(t *testing.T) {
	t.Parallel()
	p := certs.OpenPKI(filepath.Join(t.TempDir(), "pki"))
	must[[]certs.Change](t)(p.Issue(certs.Request{}))
	stolen := must[tls.Certificate](t)(loadPair(filepath.Join(p.Dir(), certs.ClientFile)))
	roots := bundleOf(t, p)
	answer := answerWith(&authenticator.Response{User: someUser}, true, nil)
	address := serveTrusting(t, p, webhook.NewHandler(answer, noOpinion, nil))
	first := newAsker(t, address, roots, stolen, 1)
	if _, _, err := first.ask(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent := must[*tls.Conn](t)(tls.Dial("tcp", address, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{stolen}}))
	defer silent.Close()

	must[certs.Rotation](t)(p.RotateCA(new(time.Duration)))
	first.wantClosed(t)
	request := must[*http.Request](t)(http.NewRequest(http.MethodPost, first.url, strings.NewReader(review("v1", secret))))
	request.Header.Set("Content-Type", "application/json")
	_ = request.Write(silent) // it may be closed already
	if text, _ := io.ReadAll(silent); len(text) > 0 {
		t.Errorf("it was answered: %.80q", text)
	}
}

// A session is resumed without the certificate that began it, so the client CA of today has to vouch for that one again.
func TestServer_ResumedSessionOfAStolenCertificate(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := certs.OpenPKI(filepath.Join(t.TempDir(), "pki"))
			must[[]certs.Change](t)(p.Issue(certs.Request{}))
			stolen := must[tls.Certificate](t)(loadPair(filepath.Join(p.Dir(), certs.ClientFile)))
			roots, bundle := bundleOf(t, p), filepath.Join(p.Dir(), certs.CAFile)
			answer := answerWith(&authenticator.Response{User: someUser}, true, nil)
			thief := newAsker(t, serveTrusting(t, p, webhook.NewHandler(answer, noOpinion, nil)), roots, stolen, 1)
			resumes := thief.client.Transport.(*http.Transport).TLSClientConfig
			resumes.MaxVersion, resumes.ClientSessionCache = version, tls.NewLRUClientSessionCache(1)
			if _, _, err := thief.ask(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(bundle); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(bundle, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			addCA(t, bundle, must[*pkitest.Authority](t)(pkitest.NewAuthority("next-ca")))
			thief.wantClosed(t)
			if _, _, err := thief.ask(t.Context()); err == nil {
				t.Error("the thief is let in again")
			}
		})
	}
}

// serveTrusting serves with the files of a PKI, and returns the address.
func serveTrusting(t *testing.T, p *certs.PKI, handler http.Handler) (address string) {
	t.Helper()
	own := filepath.Join(p.Dir(), certs.ServingFile)
	serving := must[*certs.Serving](t)(certs.LoadServing(certs.Files{
		Certificate: own, Key: own, ClientCA: filepath.Join(p.Dir(), certs.CAFile),
	}, nil))
	s := must[*webhook.Server](t)(webhook.NewServer(webhook.Options{
		Address: "127.0.0.1:0", HealthAddress: "127.0.0.1:0", TLS: serving.TLSConfig(), Trust: serving, Handler: handler,
		Metrics: prometheus.NewRegistry(),
	}))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { serving.Run(ctx) })
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return s.Address().String()
}

func loadPair(path string) (tls.Certificate, error) { return tls.LoadX509KeyPair(path, path) }

func bundleOf(t *testing.T, p *certs.PKI) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(filepath.Join(p.Dir(), certs.CAFile))))
	return pool
}

// addCA adds an authority to a bundle, as an administrator may.
func addCA(t *testing.T, bundle string, authority *pkitest.Authority) {
	t.Helper()
	other := must[string](t)(authority.WriteCertificate(t.TempDir(), "other"))
	text := append(must[[]byte](t)(os.ReadFile(bundle)), must[[]byte](t)(os.ReadFile(other))...)
	if err := os.WriteFile(bundle, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
