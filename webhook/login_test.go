package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

// installation is jobgate as it is wired in production, with its default limits towards GitLab, serving a fake GitLab's
// jobs over mutual TLS.
type installation struct {
	gitlab *gitlabtest.Server
	client *http.Client
	url    string
}

func newInstallation(t testing.TB, jobs int) *installation {
	t.Helper()
	world := gitlabtest.Instance{
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{{ID: 4, Name: "agent-name", Project: 150}},
	}
	for i := range jobs {
		world.Jobs = append(world.Jobs, gitlabtest.Job{ID: int64(1001 + i), Project: 150, User: 9, Status: "running"})
	}
	in := &installation{gitlab: gitlabtest.New(t, world)}
	source, err := gitlab.New(gitlab.Options{
		URL: in.gitlab.URL(), Timeout: 10 * time.Second, MaxInFlight: 64, RequestsPerSecond: 200, Burst: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	rules := policy.Compile(policy.Rules{Agents: []policy.Agent{{ID: 4}}, FiltersProtectedBranches: true})
	registry, err := job.NewRegistry(job.Sources{JobTokens: source, Facts: source, Statuses: source}, job.Settings{
		// Longer than any run: on a busy machine a thousand handshakes can outlast the defaults, and GitLab is then rightly
		// asked again.
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour,
		MaxJobs: 65536, MaxRejected: 65536, Timeout: 10 * time.Second,
		Needs: rules.Needs,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newPKI(t)
	tokens := tokenreview.New(registry, tokenreview.Config{Policy: rules, Agents: []tokenreview.Agent{{ID: 4}}}, decision.NewLog(nil, nil))
	s := newServer(t, p.serve(t, nil), webhook.NewHandler(tokens, noOpinion, nil))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	in.client = p.client(t, p.apiserver)
	in.url = "https://" + s.Address().String() + "/authenticate"
	// The connection is there before the load, as with an API server: without it each of a thousand requests would begin a
	// handshake, and GitLab's answer would be late because of those alone.
	resp, err := in.client.Post(in.url, "application/json", strings.NewReader(review("v1", "another authenticator's")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() {
		in.client.CloseIdleConnections()
		stop()
		running.Wait()
		source.Close()
	})
	return in
}

// login presents a job token and returns the answer's HTTP status and whether it was accepted.
func (in *installation) login(jobToken string) (code int, authenticated bool, err error) {
	resp, err := in.client.Post(in.url, "application/json", strings.NewReader(review("v1", "ci:4:"+jobToken)))
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, false, nil
	}
	var answer authenticationv1.TokenReview
	err = json.NewDecoder(resp.Body).Decode(&answer)
	return resp.StatusCode, answer.Status.Authenticated, err
}

// A thousand requests that present one new token cost GitLab one lookup.
func TestServer_ThousandFirstRequestsWithOneToken(t *testing.T) {
	rows := []struct {
		name          string
		fault         *gitlabtest.Fault
		code          int
		authenticated bool
		most          int // calls of GitLab
	}{
		{"GitLab answers 200", nil, 200, true, 1},
		{"GitLab answers 401", &gitlabtest.Fault{Status: 401, ContentType: "application/json", Body: `{"message":"401 Unauthorized"}`}, 200, false, 1},
		{"GitLab answers 500", &gitlabtest.Fault{Status: 500}, 503, false, 5},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			in := newInstallation(t, 1)
			// GitLab takes its time, so that all requests are there before the first answer.
			slow := gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Delay: time.Second}
			if row.fault != nil {
				row.fault.Endpoint, row.fault.Delay = slow.Endpoint, slow.Delay
				slow = *row.fault
			}
			in.gitlab.Fault(slow)
			w := in.gitlab.Instance()
			token := w.Job(1001).Token
			var all sync.WaitGroup
			for range 1000 {
				all.Go(func() {
					if code, ok, err := in.login(token); code != row.code || ok != row.authenticated || err != nil {
						t.Errorf("status is %d, authenticated is %t, error is %v", code, ok, err)
					}
				})
			}
			all.Wait()
			if got := in.gitlab.Calls(gitlabtest.AllowedAgents); got < 1 || got > row.most {
				t.Errorf("GitLab was asked %d times, want at most %d", got, row.most)
			}
		})
	}
}

// BenchmarkLogins is a night's start: 500 new jobs log in at once, and GitLab takes 50 ms for each.
func BenchmarkLogins(b *testing.B) {
	const jobs = 500
	var took time.Duration
	for b.Loop() {
		b.StopTimer()
		in := newInstallation(b, jobs)
		in.gitlab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Delay: 50 * time.Millisecond})
		w := in.gitlab.Instance()
		// As the API server has it: the connection is there before the night begins.
		if _, _, err := in.login(""); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		start := time.Now()
		var all sync.WaitGroup
		for i := range w.Jobs {
			all.Go(func() {
				if code, ok, err := in.login(w.Jobs[i].Token); !ok || err != nil {
					b.Error(fmt.Errorf("status %d: %w", code, err))
				}
			})
		}
		all.Wait()
		took += time.Since(start)
	}
	b.ReportMetric(took.Seconds()/float64(b.N), "s/500-logins")
	b.ReportMetric(0, "ns/op")
}
