package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

// oneJob is GitLab for a benchmark: every token is job 1001.
type oneJob struct{ job.FactSource }

func (oneJob) Identify(context.Context, string, *job.Job, job.Lane) (*job.Job, error) {
	return &job.Job{
		ID: 1001, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups:      job.KnownFact([]int64{25, 24, 23}),
		Environment: job.Environment{Slug: "prod", Tier: "production"},
		Agents:      []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: &job.Configuration{AccessAs: job.AsCIJob}}},
	}, nil
}

const (
	benchInFlight = 64
	benchSlice    = 300 * time.Millisecond
)

// BenchmarkThroughput compares both reviews of a known job with a handler that reads the body and returns the same bytes
// every time, on the same server: same TLS, one HTTP/2 connection, same client certificate, 64 in flight. The two take
// turns in short slices, so that whatever else the machine does meets both.
func BenchmarkThroughput(b *testing.B) {
	rules := policy.Compile(policy.Rules{Agents: []policy.Agent{{ID: 4}}, FiltersProtectedBranches: true})
	registry, err := job.NewRegistry(job.Sources{JobTokens: oneJob{}, Facts: oneJob{}}, job.Settings{
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: 10, MaxRejected: 10, Timeout: time.Second,
		Needs: rules.Needs,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	log := decision.NewLog(nil, nil)
	authorizer := authz.New(registry, rules, log, nil)
	tokens := tokenreview.New(registry, tokenreview.Config{Policy: rules, Agents: []tokenreview.Agent{{ID: 4}}}, log)
	rows := []struct{ name, path, body string }{
		{"TokenReview", "/authenticate", review("v1", "ci:4:glcbt-64_AbCdEfGhIjKlMnOpQrSt")},
		{"SubjectAccessReview", "/authorize", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","metadata":{},"spec":{` +
			`"resourceAttributes":{"namespace":"shop","verb":"create","group":"apps","version":"v1","resource":"deployments"},` +
			`"user":"gitlab:ci_job:1001","groups":["gitlab:ci_job","gitlab:project:150","system:authenticated"],"extra":{` +
			`"agent.gitlab.com/id":["4"],"agent.gitlab.com/config_project_id":["7"],"agent.gitlab.com/project_id":["150"],` +
			`"agent.gitlab.com/ci_pipeline_id":["501"],"agent.gitlab.com/ci_job_id":["1001"],"agent.gitlab.com/username":["jdoe"],` +
			`"agent.gitlab.com/environment_slug":["prod"],"agent.gitlab.com/environment_tier":["production"]}},"status":{"allowed":false}}`},
	}
	handler := webhook.NewHandler(tokens, authorizer, nil)
	// The first login makes the job known.
	if w := post(handler, rows[0].body); !strings.Contains(w.Body.String(), `"authenticated":true`) {
		b.Fatalf("login: %s", w.Body)
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) { benchmarkAgainstConstant(b, handler, row.path, row.body) })
	}
}

func benchmarkAgainstConstant(b *testing.B, handler http.Handler, path, body string) {
	answer := postTo(b, handler, path, body)
	mux := http.NewServeMux()
	mux.Handle("/constant/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			b.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	mux.Handle("/", handler)
	client, url := startBench(b, mux)

	var real, constant atomic.Int64
	for b.Loop() {
		load(b, client, url+path, body, &real)
		load(b, client, url+"/constant"+path, body, &constant)
	}
	slices := float64(b.N) * benchSlice.Seconds()
	b.ReportMetric(float64(real.Load())/slices, "req/s")
	b.ReportMetric(float64(constant.Load())/slices, "constant-req/s")
	b.ReportMetric(float64(real.Load())/float64(constant.Load()), "ratio")
	b.ReportMetric(0, "ns/op")
}

func postTo(b *testing.B, handler http.Handler, path, body string) []byte {
	b.Helper()
	if path == "/authorize" {
		return postAccess(handler, body).Body.Bytes()
	}
	return post(handler, body).Body.Bytes()
}

// load sends requests for one slice of time and counts the answers.
func load(b *testing.B, client *http.Client, url, body string, count *atomic.Int64) {
	var all sync.WaitGroup
	end := time.Now().Add(benchSlice)
	for range benchInFlight {
		all.Go(func() {
			for time.Now().Before(end) {
				if err := request(client, url, body); err != nil {
					b.Error(err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
}

func request(client *http.Client, url, body string) error {
	resp, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := new(bytes.Buffer).ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		return fmt.Errorf("%s over %s", resp.Status, resp.Proto)
	}
	return nil
}

func startBench(b *testing.B, handler http.Handler) (*http.Client, string) {
	b.Helper()
	p := newPKI(b)
	s := newServer(b, p.serve(b, nil), handler)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	client := p.client(b, p.apiserver)
	b.Cleanup(func() {
		client.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return client, "https://" + s.Address().String()
}
