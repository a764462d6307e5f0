package gitlab_test

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const jobID = math.MaxInt64 // ids must survive JSON to the last digit

// world is one running job of project 150, whose agent 4 lists it.
func world() gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true, ExtraRoles: []string{"galactic_overlord"}},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}, {ID: 25, Parent: 23, Path: "group1/group1-1"}},
		Projects: []gitlabtest.Project{{
			ID: 150, Group: 25, Path: "group1/group1-1/project1",
			Environments: []gitlabtest.Environment{{Name: "prod", Tier: "production"}},
		}},
		Users: []gitlabtest.User{{ID: 9, Username: "jdoe", Access: map[int64]int{150: 20}}},
		Agents: []gitlabtest.Agent{{ID: 4, Name: "agent-name", Project: 150,
			Config: "ci_access:\n  projects:\n  - id: group1/group1-1/project1\n    access_as: {ci_job: {}}\n"}},
		Jobs: []gitlabtest.Job{{
			ID: jobID, Project: 150, User: 9, Status: "running", Environment: "prod",
			Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main"},
		}},
		Tokens: []gitlabtest.AccessToken{{Token: "glpat-personal", User: 9, Scopes: []string{"api"}}},
	}
}

func newClient(t *testing.T, url string, change func(*gitlab.Options)) *gitlab.Client {
	t.Helper()
	o := gitlab.Options{
		URL: url, Timeout: 10 * time.Second, MaxInFlight: 64, RequestsPerSecond: 1000, Burst: 1000,
		UserAgent: "jobgate/test", RetryInterval: time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	c, err := gitlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// server is the fake with its one job's token.
func server(t *testing.T) (*gitlabtest.Server, string) {
	t.Helper()
	s := gitlabtest.New(t, world())
	w := s.Instance()
	return s, w.Job(jobID).Token
}

func TestAllowedAgents_ReadsTheWholeReply(t *testing.T) {
	s, token := server(t)
	c := newClient(t, s.URL(), nil)
	got, err := c.AllowedAgents(t.Context(), token, gitlab.Login)
	if err != nil {
		t.Fatal(err)
	}
	want := &gitlab.AllowedAgents{
		Agents: []gitlab.AllowedAgent{{
			ID: 4, ConfigProjectID: 150, ConfigProjectPath: "group1/group1-1/project1",
			Configuration: []byte(`{"access_as":{"ci_job":{}}}`),
		}},
		JobID:       jobID,
		PipelineID:  501,
		ProjectID:   150,
		GroupIDs:    []int64{25, 23},
		UserID:      9,
		Username:    "jdoe",
		Roles:       got.Roles,
		Environment: &gitlab.Environment{Slug: "prod", Tier: "production"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	if roles := strings.Join(got.Roles, " "); !strings.Contains(roles, "reporter") || !strings.Contains(roles, "galactic_overlord") {
		t.Errorf("roles are %q, want reporter and the unknown one among them", roles)
	}
}

func TestAllowedAgents_SendsTheTokenInItsHeaderOnly(t *testing.T) {
	s, token := server(t)
	if _, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
		t.Fatal(err)
	}
	seen := s.Requests(gitlabtest.AllowedAgents)[0]
	if strings.Contains(seen.URI, token) {
		t.Error("the token is in the URL")
	}
	for name, values := range seen.Header {
		if strings.Contains(strings.Join(values, " "), token) != (http.CanonicalHeaderKey(name) == "Job-Token") {
			t.Errorf("header %s: the token belongs in JOB-TOKEN and nowhere else", name)
		}
	}
	if got := seen.Header["User-Agent"]; len(got) != 1 || got[0] != "jobgate/test" {
		t.Errorf("user agent is %q", got)
	}
}

func TestAllowedAgents_BelowRelativeURLRoot(t *testing.T) {
	for _, suffix := range []string{"", "/"} {
		t.Run("base URL ends in gitlab"+suffix, func(t *testing.T) {
			s, err := gitlabtest.Start(gitlabtest.Options{RelativeURLRoot: "/gitlab", Instance: world()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			w := s.Instance()
			if _, err := newClient(t, s.URL()+suffix, nil).AllowedAgents(t.Context(), w.Job(jobID).Token, gitlab.Login); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAllowedAgents_DefiniteRefusalsAreNotRetried(t *testing.T) {
	rows := []struct {
		name   string
		change func(*gitlabtest.Instance)
		token  string // the job's, when empty
		status int
		words  string
	}{
		{name: "job ended", change: func(w *gitlabtest.Instance) { w.Job(jobID).Status = "success" }, status: 401, words: "401 Unauthorized"},
		{name: "job erased", change: func(w *gitlabtest.Instance) { w.Job(jobID).Erased = true }, status: 401, words: "401 Unauthorized"},
		{name: "job without user", change: func(w *gitlabtest.Instance) { w.Job(jobID).User = 0 }, status: 401, words: "401 Unauthorized"},
		{name: "project going", change: func(w *gitlabtest.Instance) { w.Project(150).PendingDelete = true }, status: 401, words: "401 Unauthorized"},
		{name: "unknown token", token: "glcbt-64_00000000000000000000", status: 401, words: "401 Unauthorized"},
		{name: "blocked user", change: func(w *gitlabtest.Instance) { w.User(9).DeniedReason = "Your account has been blocked." }, status: 403, words: "Your account has been blocked."},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := server(t)
			if row.change != nil {
				if err := s.Update(row.change); err != nil {
					t.Fatal(err)
				}
			}
			if row.token != "" {
				token = row.token
			}
			_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
			var rejected *gitlab.RejectedError
			if !errors.As(err, &rejected) || rejected.Status != row.status || !strings.Contains(rejected.Message, row.words) {
				t.Fatalf("error is %v, want GitLab's %d with %q", err, row.status, row.words)
			}
			if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

// Whatever stands between jobgate and GitLab's own answer decides nothing, and is asked again.
func TestAllowedAgents_EverythingElseIsRetried(t *testing.T) {
	rows := []struct {
		name  string
		fault gitlabtest.Fault
	}{
		{"401 from a proxy", gitlabtest.Fault{Status: 401, Body: "<html>log in</html>"}},
		{"401 without body", gitlabtest.Fault{Status: 401, ContentType: "application/json"}},
		{"401 with a JSON array", gitlabtest.Fault{Status: 401, ContentType: "application/json", Body: `["message"]`}},
		{"401 with JSON under a wrong media type", gitlabtest.Fault{Status: 401, ContentType: "text/plain", Body: `{"message":"401 Unauthorized"}`}},
		{"403 from a firewall", gitlabtest.Fault{Status: 403, Body: "<html>blocked</html>"}},
		{"404 of an unknown route", gitlabtest.Fault{Status: 404, ContentType: "application/json", Body: `{"error":"404 Not Found"}`}},
		{"404 page", gitlabtest.Fault{Status: 404, Body: "<html>not found</html>"}},
		{"400", gitlabtest.Fault{Status: 400, ContentType: "application/json", Body: `{"message":"400 Bad request"}`}},
		{"429", gitlabtest.Fault{Status: 429, ContentType: "text/plain", Body: "Retry later"}},
		{"429 at GitLab.com's edge", gitlabtest.RateLimitedAtEdge()},
		{"500", gitlabtest.Fault{Status: 500, ContentType: "application/json", Body: `{"message":"500 Internal Server Error"}`}},
		{"502", gitlabtest.BadGateway()},
		{"503", gitlabtest.Unavailable()},
		{"204", gitlabtest.Fault{Status: 204}},
		{"200 as HTML", gitlabtest.Fault{ContentType: "text/html"}},
		{"200 without media type", gitlabtest.Fault{Status: 200, ContentType: ";", Body: "{}"}},
		{"200 with an empty object", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "{}"}},
		{"200 with no JSON", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "ok"}},
		{"truncated", gitlabtest.Fault{Truncate: true}},
		{"oversized", gitlabtest.Fault{Oversize: 1<<20 + 1}},
		{"redirect", gitlabtest.Fault{Redirect: "http://127.0.0.1:1/"}},
		{"connection reset", gitlabtest.Fault{Reset: true}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := server(t)
			c := newClient(t, s.URL(), nil)
			row.fault.Endpoint = gitlabtest.AllowedAgents
			s.Fault(row.fault)

			_, err := c.AllowedAgents(t.Context(), token, gitlab.Login)
			var unavailable *gitlab.UnavailableError
			if !errors.As(err, &unavailable) {
				t.Fatalf("error is %v, want unavailable", err)
			}
			if unavailable.URL != s.URL()+"/api/v4/job/allowed_agents" || unavailable.Attempts != 5 {
				t.Errorf("error names %s after %d attempts", unavailable.URL, unavailable.Attempts)
			}
			if got := s.Calls(gitlabtest.AllowedAgents); got != 5 {
				t.Errorf("GitLab was asked %d times, want 5", got)
			}
			s.ClearFaults()
			row.fault.Calls = 2
			s.Fault(row.fault)
			if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
				t.Errorf("after two such answers and a good one: %v", err)
			}
		})
	}
}

func TestUnavailableError_SaysWhatTheLastAnswerWas(t *testing.T) {
	rows := []struct {
		name  string
		fault gitlabtest.Fault
		want  int
	}{
		{"502", gitlabtest.BadGateway(), 502},
		{"401 from a proxy", gitlabtest.Fault{Status: 401, Body: "<html>log in</html>"}, 401},
		{"200 as HTML", gitlabtest.Fault{ContentType: "text/html"}, 200},
		{"none", gitlabtest.Fault{Reset: true}, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := server(t)
			row.fault.Endpoint = gitlabtest.AllowedAgents
			s.Fault(row.fault)
			_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
			var unavailable *gitlab.UnavailableError
			if !errors.As(err, &unavailable) || unavailable.Status != row.want {
				t.Errorf("error is %#v, want one with status %d", err, row.want)
			}
		})
	}
}

func TestAllowedAgents_RedirectIsNotFollowed(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the token was carried to another server")
	}))
	defer stranger.Close()
	s, token := server(t)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Redirect: stranger.URL})
	_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
	if err == nil {
		t.Error("no error")
	}
}

func TestAllowedAgents_ErrorsNeverRepeatTheToken(t *testing.T) {
	rows := []gitlabtest.Fault{
		{Status: 401, EchoToken: true},
		{Status: 403, EchoToken: true},
		{Status: 500, EchoToken: true},
		{Status: 200, EchoToken: true},
		{Reset: true},
	}
	for _, fault := range rows {
		t.Run(fmt.Sprintf("status %d reset %t", fault.Status, fault.Reset), func(t *testing.T) {
			s, token := server(t)
			fault.Endpoint = gitlabtest.AllowedAgents
			s.Fault(fault)
			_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), token) {
				t.Error("the error repeats the token")
			}
		})
	}
}

func TestAllowedAgents_RetryAfter(t *testing.T) {
	t.Run("longer than the lookup may take ends it", func(t *testing.T) {
		s, token := server(t)
		s.Fault(gitlabtest.RateLimited(time.Minute))
		_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
		var unavailable *gitlab.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.RetryAfter < 50*time.Second || unavailable.RetryAfter > time.Minute {
			t.Fatalf("error is %#v, want one that says to wait a minute", err)
		}
		if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
			t.Errorf("GitLab was asked %d times after it had said to wait, want once", got)
		}
	})
	t.Run("within the lookup is waited for", func(t *testing.T) {
		s, token := server(t)
		limited := gitlabtest.RateLimited(time.Second)
		limited.Calls = 1
		s.Fault(limited)
		start := time.Now()
		if _, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < time.Second {
			t.Errorf("waited %s, GitLab had asked for a second", waited)
		}
	})
}

func TestAllowedAgents_TimeoutBoundsTheWholeLookup(t *testing.T) {
	s, token := server(t)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Hang: true})
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.Timeout = 50 * time.Millisecond })
	_, err := c.AllowedAgents(t.Context(), token, gitlab.Login)
	var unavailable *gitlab.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("error is %v, want unavailable", err)
	}
	s.ClearFaults()
	c = newClient(t, s.URL(), nil)
	if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
		t.Errorf("after the hang: %v", err)
	}
}

func TestAllowedAgents_CertificateAuthority(t *testing.T) {
	s, err := gitlabtest.Start(gitlabtest.Options{TLS: true, Instance: world()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := s.Instance()
	token := w.Job(jobID).Token
	t.Run("unknown", func(t *testing.T) {
		_, err := newClient(t, s.URL(), nil).AllowedAgents(t.Context(), token, gitlab.Login)
		var unavailable *gitlab.UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error is %v, want one that names the certificate", err)
		}
	})
	t.Run("in the extra bundle", func(t *testing.T) {
		c := newClient(t, s.URL(), func(o *gitlab.Options) { o.CABundle = s.CACertPEM() })
		if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
			t.Error(err)
		}
	})
}

func TestNew_RefusesWhatItCannotUse(t *testing.T) {
	rows := []struct {
		name string
		o    gitlab.Options
		want error
	}{
		{"relative URL", gitlab.Options{URL: "gitlab.example.com"}, nil},
		{"another scheme", gitlab.Options{URL: "ftp://gitlab.example.com"}, nil},
		{"no URL", gitlab.Options{URL: "https://gitlab.example.com:port"}, nil},
		{"bundle without certificate", gitlab.Options{URL: "https://gitlab.example.com", CABundle: []byte("none")}, gitlab.ErrNoCertificate},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := gitlab.New(row.o)
			if err == nil || (row.want != nil && !errors.Is(err, row.want)) {
				t.Errorf("error is %v, want %v", err, row.want)
			}
		})
	}
}

func TestMetrics_CountRequestsByResult(t *testing.T) {
	s, token := server(t)
	metrics := prometheus.NewPedanticRegistry()
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.Metrics = gitlab.NewMetrics(metrics) })
	// The reset comes first: on a connection that was used before, net/http itself sends the request once more.
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Reset: true, Calls: 1},
		gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 502, Calls: 1},
		gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, ContentType: "text/html", Calls: 1})
	if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AllowedAgents(t.Context(), "glcbt-64_00000000000000000000", gitlab.Login); err == nil {
		t.Fatal("no error")
	}
	want := `
# HELP jobgate_gitlab_circuit_open 1 while the circuit breaker holds requests to GitLab back, else 0.
# TYPE jobgate_gitlab_circuit_open gauge
jobgate_gitlab_circuit_open 0
# HELP jobgate_gitlab_requests_total Requests sent to GitLab, by endpoint and result (the HTTP status, or error where there was none).
# TYPE jobgate_gitlab_requests_total counter
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="401"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="502"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="error"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="invalid"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want),
		"jobgate_gitlab_requests_total", "jobgate_gitlab_circuit_open"); err != nil {
		t.Error(err)
	}
}
