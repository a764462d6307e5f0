package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserverwebhook "k8s.io/apiserver/plugin/pkg/authenticator/token/webhook"
	"k8s.io/client-go/rest"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

// keptJobgate is a jobgate that keeps its PKI, and a job that logs in through it.
type keptJobgate struct {
	*sandbox.Jobgate
	pki   *certs.PKI
	token string
}

func startKept(t *testing.T, name string, r certs.Request, args ...string) keptJobgate {
	t.Helper()
	jobgate, pki, err := site.StartJobgateWithPKI(t.Context(), name, r, args...)
	if err != nil {
		t.Fatal(err)
	}
	// Not with the site: Linux gives a user 128 inotify instances, and every jobgate and API server has four.
	t.Cleanup(func() {
		if err := jobgate.Stop(); err != nil {
			t.Error(err)
		}
	})
	token := fmt.Sprintf("ci:%d:%s", ciJobAgent, runJob(t, gitlabtest.Job{}).Token)
	return keptJobgate{jobgate, pki, token}
}

// leaf is the certificate that is in a file of the PKI now.
func (c keptJobgate) leaf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(c.pki.Dir(), file), filepath.Join(c.pki.Dir(), file))
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

// tls is the configuration of an API server that reads its files now.
func (c keptJobgate) tls() (*tls.Config, error) {
	file := filepath.Join(c.pki.Dir(), certs.ClientFile)
	pair, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(filepath.Join(c.pki.Dir(), certs.CAFile))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, errors.New("the bundle has no certificates")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
}

func (c keptJobgate) client() (*http.Client, error) {
	configuration, err := c.tls()
	if err != nil {
		return nil, err
	}
	return clientWith(configuration), nil
}

func clientWith(configuration *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: configuration, ForceAttemptHTTP2: true}}
}

// review asks whose the job's token is; the answer has to be the job.
func (c keptJobgate) review(ctx context.Context, client *http.Client) error {
	body, err := json.Marshal(authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: c.token},
	})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/authenticate", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var review authenticationv1.TokenReview
	if err := json.Unmarshal(text, &review); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s: %w", response.Status, err)
	}
	if !review.Status.Authenticated || !strings.HasPrefix(review.Status.User.Username, "gitlab:ci_job:") {
		return fmt.Errorf("authenticated is %t: %s", review.Status.Authenticated, review.Status.Error)
	}
	return nil
}

// caller is a way to ask for a review.
type caller func(context.Context) error

// lasting asks over one connection, for as long as it may last.
func (c keptJobgate) lasting() (caller, error) {
	client, err := c.client()
	return func(ctx context.Context) error { return c.review(ctx, client) }, err
}

// following connects again whenever the client certificate is another, as client-go does, which looks every 5 minutes.
func (c keptJobgate) following(connect func() (caller, error)) func() (caller, error) {
	var mu sync.Mutex
	var current caller
	var certificate []byte
	latest := func() (caller, error) {
		mu.Lock()
		defer mu.Unlock()
		text, err := os.ReadFile(filepath.Join(c.pki.Dir(), certs.ClientFile))
		if err == nil && !bytes.Equal(text, certificate) {
			certificate = text
			current, err = connect()
		}
		return current, err
	}
	return func() (caller, error) {
		return func(ctx context.Context) error {
			call, err := latest()
			if err != nil {
				return err
			}
			return call(ctx)
		}, nil
	}
}

// fresh shakes hands for each review, with the files as they are then.
func (c keptJobgate) fresh(ctx context.Context) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return c.review(ctx, client)
}

// apiServer asks as kube-apiserver does, with its own client. It is given what the files have now: client-go shares one
// connection among clients with the same names of files.
func (c keptJobgate) apiServer() (caller, error) {
	pair, err := os.ReadFile(filepath.Join(c.pki.Dir(), certs.ClientFile))
	if err != nil {
		return nil, err
	}
	bundle, err := os.ReadFile(filepath.Join(c.pki.Dir(), certs.CAFile))
	if err != nil {
		return nil, err
	}
	w, err := apiserverwebhook.New(&rest.Config{
		Host: c.URL + "/authenticate", QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: bundle, CertData: pair, KeyData: pair},
	}, "v1", authenticator.Audiences{"https://kubernetes.default.svc"}, *apiserverwebhook.DefaultRetryBackoff())
	return func(ctx context.Context) error {
		_, authenticated, err := w.AuthenticateToken(ctx, c.token)
		if err == nil && !authenticated {
			err = errors.New("not authenticated")
		}
		return err
	}, err
}

// The load: of ten reviews in a row, seven go over kept connections, one over the API server's own client, and two
// over a connection of their own.
const (
	loadRate        = 200 // reviews a second, where the machine can
	loadInFlight    = 32  // a slow machine gets fewer reviews, and not a queue in which they grow old
	keptConnections = 7
)

func (c keptJobgate) callers(t *testing.T, follow bool) []caller {
	t.Helper()
	all := []caller{c.fresh, c.fresh}
	for i := range keptConnections + 1 {
		connect := c.lasting
		if i == 0 {
			connect = c.apiServer
		}
		if follow {
			connect = c.following(connect)
		}
		one, err := connect()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// every lets a load go on, and asks more at intervals.
func every(interval time.Duration, more func(elapsed time.Duration) bool) func(time.Duration) bool {
	next := time.Duration(0)
	return func(elapsed time.Duration) bool {
		if elapsed < next {
			return true
		}
		next = elapsed + interval
		return more(elapsed)
	}
}

// load asks for reviews at loadRate until more says no, which it is asked before each; then it waits for the answers. Every
// one has to be good. It returns how many there were. With follow, kept connections follow the client certificate.
func (c keptJobgate) load(t *testing.T, follow bool, more func(elapsed time.Duration) bool) (sent int) {
	t.Helper()
	before := c.answers(t)
	callers := c.callers(t, follow)
	failures := make(chan error, 5)
	var running sync.WaitGroup
	pace, slots := time.NewTicker(time.Second/loadRate), make(chan struct{}, loadInFlight)
	defer pace.Stop()
	for begun := time.Now(); more(time.Since(begun)); sent++ {
		<-pace.C
		slots <- struct{}{}
		call := callers[sent%len(callers)]
		running.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := call(ctx); err != nil {
				select {
				case failures <- err:
				default: // the first ones say enough
				}
			}
		})
	}
	running.Wait()
	close(failures)
	for err := range failures {
		t.Errorf("a review failed: %v", err)
	}
	after := c.answers(t)
	if got := int(after.good - before.good); got < sent || after.all-before.all != after.good-before.good {
		t.Errorf("of %d reviews, jobgate answered %d well, of %v answers", sent, got, after.all-before.all)
	}
	return sent
}

// answers are how many requests jobgate has answered, and how many of them with 200, at one moment: others ask meanwhile.
type answers struct{ all, good float64 }

func (c keptJobgate) answers(t *testing.T) answers {
	t.Helper()
	const requests = "jobgate_http_requests_total"
	text, err := c.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all, err := sandbox.Sum(text, requests, nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := sandbox.Sum(text, requests, map[string]string{"code": "200"})
	if err != nil {
		t.Fatal(err)
	}
	return answers{all: all, good: good}
}

func jobgateMetric(t *testing.T, j *sandbox.Jobgate, name string, labels map[string]string) float64 {
	t.Helper()
	value, err := j.Metric(t.Context(), name, labels)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// logLines are the messages of a jobgate's log that have the words.
func logLines(t *testing.T, j *sandbox.Jobgate, words string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(j.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, words) {
			lines = append(lines, line)
		}
	}
	return lines
}
