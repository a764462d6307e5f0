package webhook_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/pkitest"
	"github.com/jobgate/jobgate/webhook"
)

// pki is what a cluster would have: an authority for jobgate, a client certificate of the API server, and others.
type pki struct {
	dir                          string
	authority, stranger          *pkitest.Authority
	server                       pkitest.Files
	apiserver, other, unverified pkitest.Files
	clientCA                     string
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir()}
	p.authority = must[*pkitest.Authority](t)(pkitest.NewAuthority("jobgate-ca"))
	p.stranger = must[*pkitest.Authority](t)(pkitest.NewAuthority("stranger-ca"))
	p.server = must[pkitest.Files](t)(p.authority.IssueServer(p.dir, "jobgate"))
	p.apiserver = must[pkitest.Files](t)(p.authority.IssueClient(p.dir, "kube-apiserver"))
	p.other = must[pkitest.Files](t)(p.authority.IssueClient(p.dir, "another-client"))
	p.unverified = must[pkitest.Files](t)(p.stranger.IssueClient(t.TempDir(), "kube-apiserver"))
	p.clientCA = must[string](t)(p.authority.WriteCertificate(p.dir, "client-ca"))
	return p
}

// serve returns the server's TLS, watched for as long as the test runs.
func (p *pki) serve(t testing.TB, clientNames []string) *tls.Config {
	t.Helper()
	serving := must[*certs.Serving](t)(certs.LoadServing(certs.Files{
		Certificate: p.server.Cert, Key: p.server.Key, ClientCA: p.clientCA, ClientNames: clientNames,
	}, nil))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { serving.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return serving.TLSConfig()
}

// client connects over HTTP/2 with a certificate; none where it is the zero value.
func (p *pki) client(t testing.TB, files pkitest.Files) *http.Client {
	t.Helper()
	config := &tls.Config{RootCAs: p.authority.Pool(), MinVersion: tls.VersionTLS10}
	if files != (pkitest.Files{}) {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
}

func TestServer_WhoMayConnect(t *testing.T) {
	p := newPKI(t)
	rows := []struct {
		name        string
		clientNames []string
		files       pkitest.Files
		change      func(*tls.Config)
		accepted    bool
	}{
		{name: "API server", files: p.apiserver, accepted: true},
		{name: "API server, by name", clientNames: []string{"kube-apiserver"}, files: p.apiserver, accepted: true},
		{name: "trusted certificate of another name", clientNames: []string{"kube-apiserver"}, files: p.other},
		{name: "no certificate"},
		{name: "certificate of another authority", files: p.unverified},
		{name: "certificate of a server", files: p.server},
		{name: "TLS 1.2", files: p.apiserver, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, accepted: true},
		{name: "TLS 1.1", files: p.apiserver, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newServer(t, p.serve(t, row.clientNames), webhook.NewHandler(answerWith(nil, false, nil), noOpinion, nil))
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			defer func() { stop(); <-ended }()

			client := p.client(t, row.files)
			defer client.CloseIdleConnections()
			if row.change != nil {
				row.change(client.Transport.(*http.Transport).TLSClientConfig)
			}
			resp, err := client.Post("https://"+s.Address().String()+"/authenticate", "application/json", strings.NewReader(review("v1", secret)))
			if err == nil {
				resp.Body.Close()
			}
			if accepted := err == nil && resp.StatusCode == http.StatusOK; accepted != row.accepted {
				t.Errorf("accepted is %t, want %t (%v)", accepted, row.accepted, err)
			}
			if row.accepted && err == nil && resp.ProtoMajor != 2 {
				t.Errorf("protocol is %s, want HTTP/2", resp.Proto)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		s := newServer(t, p.serve(t, nil), webhook.NewHandler(answerWith(nil, false, nil), noOpinion, nil))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		defer func() { stop(); <-ended }()
		defer http.DefaultClient.CloseIdleConnections()
		resp, err := http.Post("http://"+s.Address().String()+"/authenticate", "application/json", strings.NewReader(review("v1", secret)))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				t.Error("accepted")
			}
		}
	})
}
