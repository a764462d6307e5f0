package webhook_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

const (
	benchInFlight = "64"
	benchWarmUp   = "300ms" // for the connection
	benchSlice    = "500ms"
	benchSlices   = 20 // of each handler; with fewer, two runs differ by a twentieth
	benchAudience = "https://bench.example.com"
)

// benched is jobgate's handler with the example's job, by each of its credentials.
type benched struct {
	gitlab            *gitlabtest.Server
	handler           http.Handler
	jobToken, idToken string
}

// newBenched remembers as many jobs as it is told. The facts are those of the fake GitLab; a known job is never asked about.
func newBenched(b *testing.B, w gitlabtest.Instance, maxJobs int) *benched {
	b.Helper()
	klog.SetLogger(logr.Discard()) // a benchmark prints figures
	b.Cleanup(klog.ClearLogger)
	server := gitlabtest.New(b, w)
	source, err := gitlab.New(gitlab.Options{
		URL: server.URL(), Timeout: 10 * time.Second, MaxInFlight: 128, RequestsPerSecond: 1e6, Burst: 1e6,
	})
	if err != nil {
		b.Fatal(err)
	}
	rules := policy.Compile(policy.Rules{
		Cluster: "bench", Agents: []policy.Agent{{ID: gitlabtest.ExampleAgent}}, FiltersProtectedBranches: true,
		Grants: []policy.Grant{{Name: "shop", Projects: []int64{gitlabtest.ExampleProject}}},
	})
	ids := idtoken.New(idtoken.Config{URL: server.URL(), Issuer: server.URL(), Audience: benchAudience}, source, nil)
	registry, err := job.NewRegistry(job.Sources{JobTokens: source, Facts: source, IDTokens: ids, Statuses: source}, job.Settings{
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: maxJobs, MaxRejected: 10, Timeout: 10 * time.Second,
		Needs: rules.Needs,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	log := decision.NewLog(nil, nil)
	agents := []tokenreview.Agent{{ID: gitlabtest.ExampleAgent}}
	tokens := tokenreview.New(registry, tokenreview.Config{Policy: rules, Agents: agents, IDTokens: ids}, log)
	w = server.Instance()
	idToken, err := server.IDToken(gitlabtest.ExampleJob, benchAudience)
	if err != nil {
		b.Fatal(err)
	}
	return &benched{
		gitlab:   server,
		handler:  webhook.NewHandler(tokens, authz.New(registry, rules, log, nil), nil),
		jobToken: "ci:4:" + w.Job(gitlabtest.ExampleJob).Token, idToken: idToken,
	}
}

// BenchmarkThroughput compares both reviews of a known job with a handler that reads the body and returns the same bytes
// every time, on the same server: same TLS, one HTTP/2 connection, 64 in flight. The client is h2load, whose own cost is
// small; it has no client certificates, which cost a connection and no request. The two take turns in short slices, so that
// whatever else the machine does meets both.
func BenchmarkThroughput(b *testing.B) {
	known := newBenched(b, gitlabtest.Example(), 10)
	rows := []struct{ name, path, body string }{
		{"TokenReview", "/authenticate", review("v1", known.jobToken)},
		{"IDToken", "/authenticate", review("v1", known.idToken)},
		{"SubjectAccessReview", "/authorize", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},"spec":{` +
			`"resourceAttributes":{"namespace":"shop","verb":"create","group":"apps","version":"v1","resource":"deployments"},` +
			`"user":"gitlab:ci_job:1001","groups":["gitlab:ci_job","gitlab:project:150","system:authenticated"],"extra":{` +
			`"agent.gitlab.com/id":["4"],"agent.gitlab.com/config_project_id":["7"],"agent.gitlab.com/project_id":["150"],` +
			`"agent.gitlab.com/ci_pipeline_id":["501"],"agent.gitlab.com/ci_job_id":["1001"],"agent.gitlab.com/username":["jdoe"],` +
			`"agent.gitlab.com/environment_slug":["prod"],"agent.gitlab.com/environment_tier":["production"]}},"status":{"allowed":false}}`},
	}
	for _, row := range rows[:2] { // the first login makes the job known
		mustLogIn(b, known.handler, row.body)
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) { benchmarkAgainstConstant(b, known.handler, row.path, row.body) })
	}
}

// BenchmarkFirstLogins is BenchmarkThroughput for credentials that are not known. GitLab is the fake, on the same
// processors.
func BenchmarkFirstLogins(b *testing.B) {
	const jobs, known = 1024, 2 * 64 // so many that each is forgotten before its next turn
	w := gitlabtest.Example()
	for i := range jobs {
		j := w.Jobs[0]
		j.ID, j.Token = int64(2000+i), ""
		w.Jobs = append(w.Jobs, j)
	}
	login := newBenched(b, w, known)
	var jobTokens, idTokens []string
	for _, j := range login.gitlab.Instance().Jobs[1:] {
		id, err := login.gitlab.IDToken(j.ID, benchAudience)
		if err != nil {
			b.Fatal(err)
		}
		jobTokens, idTokens = append(jobTokens, review("v1", "ci:4:"+j.Token)), append(idTokens, review("v1", id))
	}
	for _, row := range []struct {
		name   string
		bodies []string
	}{{"JobToken", jobTokens}, {"IDToken", idTokens}} {
		mustLogIn(b, login.handler, row.bodies[0])
		b.Run(row.name, func(b *testing.B) {
			benchmarkAgainstConstant(b, inTurn(login.handler, row.bodies), "/authenticate", row.bodies[0])
		})
	}
}

// inTurn gives the handler another body than the one that came, since h2load sends the same one every time.
func inTurn(h http.Handler, bodies []string) http.Handler {
	var turn atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // h2load has ended its slice
		}
		body := bodies[int(turn.Add(1))%len(bodies)]
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		h.ServeHTTP(w, r)
	})
}

func mustLogIn(b *testing.B, h http.Handler, body string) {
	b.Helper()
	if w := post(h, body); !strings.Contains(w.Body.String(), `"authenticated":true`) {
		b.Fatalf("login: %s", w.Body)
	}
}

// BenchmarkFirstLogin_IDToken is the login of an ID token that is not known: there is room for one job, and two take turns.
func BenchmarkFirstLogin_IDToken(b *testing.B) {
	login := newBenched(b, gitlabtest.Example(), 1)
	bodies := []string{review("v1", login.jobToken), review("v1", login.idToken)}
	post(login.handler, bodies[1]) // GitLab's keys are read
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		post(login.handler, bodies[0])
		b.StartTimer()
		if w := post(login.handler, bodies[1]); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

func benchmarkAgainstConstant(b *testing.B, handler http.Handler, path, body string) {
	answer := postTo(b, handler, path, body)
	mux := http.NewServeMux()
	mux.Handle("/constant/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return // h2load has ended its slice
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	mux.Handle("/", handler)
	url := startBench(b, mux)
	file := filepath.Join(b.TempDir(), "review.json")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		b.Fatal(err)
	}
	var measured, constant float64
	for b.Loop() {
		for range benchSlices {
			measured += load(b, url+path, file)
			constant += load(b, url+"/constant"+path, file)
		}
	}
	b.ReportMetric(measured/float64(b.N*benchSlices), "req/s")
	b.ReportMetric(constant/float64(b.N*benchSlices), "constant-req/s")
	b.ReportMetric(measured/constant, "ratio")
	b.ReportMetric(0, "ns/op")
}

func postTo(b *testing.B, handler http.Handler, path, body string) []byte {
	b.Helper()
	if path == "/authorize" {
		return postAccess(handler, body).Body.Bytes()
	}
	return post(handler, body).Body.Bytes()
}

var (
	rateLine   = regexp.MustCompile(`finished in [^,]+, ([0-9.]+) req/s`)
	statusLine = regexp.MustCompile(`0 failed, 0 errored, 0 timeout\nstatus codes: [0-9]+ 2xx, 0 3xx, 0 4xx, 0 5xx`)
)

// load is the rate of requests in one slice of time.
func load(b *testing.B, url, file string) float64 {
	b.Helper()
	out, err := exec.CommandContext(b.Context(), "h2load", "-c1", "-t1", "-m"+benchInFlight, "--warm-up-time="+benchWarmUp, "-D"+benchSlice, "-d"+file,
		"-H", "content-type: application/json", url).CombinedOutput()
	if err != nil {
		b.Fatalf("h2load: %v\n%s", err, out)
	}
	rate := rateLine.FindSubmatch(out)
	if rate == nil || !statusLine.Match(out) || !bytes.Contains(out, []byte("Application protocol: h2")) {
		b.Fatalf("h2load met something else than success over HTTP/2:\n%s", out)
	}
	perSecond, err := strconv.ParseFloat(string(rate[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return perSecond
}

func startBench(b *testing.B, handler http.Handler) (url string) {
	b.Helper()
	p := newPKI(b)
	serving := must[*certs.Serving](b)(certs.LoadServing(certs.Files{Certificate: p.server.Cert, Key: p.server.Key}, nil))
	s := newServer(b, serving.TLSConfig(), handler)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return "https://" + s.Address().String()
}
