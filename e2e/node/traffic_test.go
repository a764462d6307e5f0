//go:build node

package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	requestsPerSecond = 50
	// Every so many requests come from a job that the cluster has never seen.
	requestsPerLogin = 25
	knownJobs        = 20
	newJobs          = 4000 // enough for 33 minutes
	requestTimeout   = time.Minute
)

// traffic are CI jobs that read ConfigMaps, and an administrator who does, too.
type traffic struct {
	client *http.Client
	admin  *http.Client
	known  []string // tokens
	fresh  []string
	stop   context.CancelFunc
	ticks  sync.WaitGroup
	begin  time.Time

	mu       sync.Mutex
	jobs     int // answered requests of jobs
	logins   int // of these, from new jobs
	refused  []refusal
	slowest  time.Duration
	admins   int
	adminsNo []refusal
}

// refusal is a request that was not answered with 200.
type refusal struct {
	at, took time.Duration // at is since the traffic began
	why      string        // the status, or the connection's error
	login    bool
}

// startTraffic begins with jobs that are logged in, and goes on until the test ends or wait is called.
func startTraffic(t *testing.T) *traffic {
	t.Helper()
	tokens := runJobs(t, knownJobs+newJobs)
	tr := &traffic{client: jobClient(t), admin: adminClient(t), known: tokens[:knownJobs], fresh: tokens[knownJobs:]}
	for _, token := range tr.known {
		if why := tr.ask(t.Context(), token); why != "" {
			t.Fatalf("a job cannot log in: %s", why)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr.stop, tr.begin = cancel, time.Now()
	tr.ticks.Go(func() { tr.run(ctx) })
	t.Cleanup(tr.end)
	return tr
}

func (tr *traffic) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / requestsPerSecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		token, login := tr.known[n%len(tr.known)], n%requestsPerLogin == 0
		if login {
			token = tr.fresh[(n/requestsPerLogin)%len(tr.fresh)]
		}
		tr.ticks.Go(func() { tr.record(token, login) })
		if n%requestsPerSecond == 0 {
			tr.ticks.Go(func() { tr.record("", false) })
		}
	}
}

// record asks, and remembers the answer. Without a token it is the administrator who asks.
func (tr *traffic) record(token string, login bool) {
	begin := time.Now()
	why := tr.ask(context.Background(), token)
	r := refusal{at: begin.Sub(tr.begin), took: time.Since(begin), why: why, login: login}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	switch {
	case token == "" && why != "":
		tr.adminsNo = append(tr.adminsNo, r)
	case token != "" && why != "":
		tr.refused = append(tr.refused, r)
	}
	if token == "" {
		tr.admins++
		return
	}
	tr.slowest = max(tr.slowest, r.took)
	tr.jobs++
	if login {
		tr.logins++
	}
}

// ask says why the request was refused; nothing if it was not.
func (tr *traffic) ask(ctx context.Context, token string) string {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, serverURL()+"/api/v1/namespaces/web/configmaps?limit=1", nil)
	if err != nil {
		return err.Error()
	}
	client := tr.admin
	if token != "" {
		client = tr.client
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return "no answer: " + errors.Unwrap(err).Error()
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return "no answer: " + err.Error()
	}
	if response.StatusCode != http.StatusOK {
		return response.Status
	}
	return ""
}

// end waits for the answers that are still to come.
func (tr *traffic) end() {
	tr.stop()
	tr.ticks.Wait()
	tr.client.CloseIdleConnections()
	tr.admin.CloseIdleConnections()
}

// String is a line for a table.
func (tr *traffic) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	text := fmt.Sprintf("%d requests of jobs in %s, %d of them first logins: %d refused", tr.jobs,
		time.Since(tr.begin).Round(time.Second), tr.logins, len(tr.refused))
	if len(tr.refused) > 0 {
		reasons := map[string]int{}
		for _, r := range tr.refused {
			reasons[r.why]++
		}
		var parts []string
		for _, why := range slices.Sorted(maps.Keys(reasons)) {
			parts = append(parts, fmt.Sprintf("%d × %s", reasons[why], why))
		}
		text += fmt.Sprintf(" within %s (%s)", window(tr.refused).Round(100*time.Millisecond), strings.Join(parts, ", "))
	}
	return text + fmt.Sprintf("; the slowest took %s; the administrator: %d requests, %d refused",
		tr.slowest.Round(time.Millisecond), tr.admins, len(tr.adminsNo))
}

// window is the time from the first to the last refused request.
func window(refused []refusal) time.Duration {
	first, last := refused[0].at, refused[0].at
	for _, r := range refused {
		first, last = min(first, r.at), max(last, r.at)
	}
	return last - first
}

// sinceRefusal is how long no request has been refused.
func (tr *traffic) sinceRefusal() time.Duration {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var last time.Duration
	for _, r := range tr.refused {
		last = max(last, r.at+r.took)
	}
	return time.Since(tr.begin) - last
}

// runJobs starts many jobs at once, and returns what they log in with.
func runJobs(t *testing.T, count int) []string {
	t.Helper()
	first := firstJob + site.jobs.Add(int64(count)) - int64(count)
	err := site.gitlab.Update(func(w *gitlabtest.Instance) {
		for id := first; id < first+int64(count); id++ {
			w.Jobs = append(w.Jobs, gitlabtest.Job{
				ID: id, Status: "running", Project: project, User: developer, Environment: "prod",
				Pipeline: gitlabtest.Pipeline{ID: id + 1e6, Ref: "main"},
			})
		}
	})
	must(t, err)
	present := site.gitlab.Instance()
	tokens := make([]string, 0, count)
	for id := first; id < first+int64(count); id++ {
		tokens = append(tokens, fmt.Sprintf("ci:%d:%s", agent, present.Job(id).Token))
	}
	return tokens
}

func jobClient(t *testing.T) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(site.clusterCA)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
	}}
}

func adminClient(t *testing.T) *http.Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", admin(t).Kubeconfig)
	must(t, err)
	client, err := rest.HTTPClientFor(config)
	must(t, err)
	return client
}
