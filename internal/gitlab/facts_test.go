package gitlab_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

// question is one that is asked about a job; token is the job's.
type question func(ctx context.Context, c *gitlab.Client, token string) error

func askDetails(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.Details(ctx, token, identified())
	return err
}

func askRef(kind job.RefType, name string) question {
	return func(ctx context.Context, c *gitlab.Client, token string) error {
		_, err := c.RefProtected(ctx, token, on(kind, name))
		return err
	}
}

func askEnvironment(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.EnvironmentNamed(ctx, token, identified(), "prod")
	return err
}

func askName(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.EnvironmentName(ctx, token, identified(), []string{"p*"})
	return err
}

func askProtectedEnvironment(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.EnvironmentProtected(ctx, named("prod"))
	return err
}

// named is the fixture's job with its environment's name known.
func named(name string) *job.Job {
	j := identified()
	j.Environment.Name = job.KnownFact(name)
	return j
}

func askStatus(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.Status(ctx, 150, jobID, job.Refreshes)
	return err
}

func askGroups(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.Groups(ctx, 150, job.Logins)
	return err
}

func askKeys(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.Keys(ctx)
	return err
}

// credentialKind is what a question is asked with.
type credentialKind int

const (
	anonymous credentialKind = iota
	withJobToken
	withAccessToken
)

// questions are all but Identify, each in every way it can be asked.
var questions = []struct {
	name     string
	endpoint string // as the fake calls it
	path     string // as errors and metrics call it
	with     credentialKind
	ask      question
}{
	{name: "details", endpoint: gitlabtest.CurrentJob, path: "api/v4/job", with: withJobToken, ask: askDetails},
	{name: "branch", endpoint: gitlabtest.Branch, path: "api/v4/projects/:id/repository/branches/:branch",
		with: withAccessToken, ask: askRef(job.Branch, "main")},
	{name: "tag", endpoint: gitlabtest.Tag, path: "api/v4/projects/:id/repository/tags/:tag", with: withAccessToken, ask: askRef(job.Tag, "v1.0")},
	{name: "environment", endpoint: gitlabtest.Environments, path: "api/v4/projects/:id/environments", with: withJobToken, ask: askEnvironment},
	{name: "environment's name", endpoint: gitlabtest.Environments, path: "api/v4/projects/:id/environments", with: withJobToken, ask: askName},
	{name: "protected environment", endpoint: gitlabtest.ProtectedEnvironment,
		path: "api/v4/projects/:id/protected_environments/:name", with: withAccessToken, ask: askProtectedEnvironment},
	{name: "status", endpoint: gitlabtest.ProjectJob, path: "api/v4/projects/:id/jobs/:job_id", with: withAccessToken, ask: askStatus},
	{name: "groups", endpoint: gitlabtest.ProjectGroups, path: "api/v4/projects/:id/groups", with: withAccessToken, ask: askGroups},
	{name: "keys", endpoint: gitlabtest.KeySet, path: "oauth/discovery/keys", with: anonymous, ask: askKeys},
}

func TestQuestions_SendOneTokenInItsOwnHeaderOnly(t *testing.T) {
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			s, token := start(t, nil)
			if err := q.ask(t.Context(), newClient(t, s.URL(), withAccess), token); err != nil {
				t.Fatal(err)
			}
			seen := s.Requests(gitlabtest.AnyEndpoint)
			if len(seen) != 1 || seen[0].Endpoint != q.endpoint || seen[0].Method != http.MethodGet {
				t.Fatalf("%d requests, want one to %s", len(seen), q.endpoint)
			}
			want := map[credentialKind][2][]string{
				withJobToken: {{token}, nil}, withAccessToken: {nil, {accessToken}},
			}[q.with]
			h := http.Header(seen[0].Header)
			for i, header := range []string{"Job-Token", "Private-Token"} {
				if got := h.Values(header); len(got) != len(want[i]) || (len(got) == 1 && got[0] != want[i][0]) {
					t.Errorf("%s has %d values, or another token", header, len(got))
				}
				delete(seen[0].Header, header)
			}
			if text := fmt.Sprint(seen[0]); strings.Contains(text, token) || strings.Contains(text, accessToken) {
				t.Error("a token is elsewhere in the request, too")
			}
		})
	}
}

func TestQuestions_EverythingElseThanGitLabsWordIsRetried(t *testing.T) {
	for _, q := range questions {
		for _, row := range useless {
			if q.with == anonymous && strings.HasPrefix(row.name, "200 with ") {
				continue // the keys are handed on as they are
			}
			if q.with == withJobToken && strings.Contains(row.name, "reset") {
				continue // net/http repeats a request on a connection that was used before
			}
			if q.endpoint == gitlabtest.ProtectedEnvironment && row.name == "404 of an unknown route" {
				continue // the Free tier's word
			}
			t.Run(q.name+" "+row.name, func(t *testing.T) {
				s, token := start(t, nil)
				row.fault.Endpoint = q.endpoint
				s.Fault(row.fault)
				err := q.ask(t.Context(), newClient(t, s.URL(), withAccess), token)
				if r := request(t, err); r.URL != s.URL()+"/"+q.path || r.Attempts != 5 {
					t.Errorf("error names %s after %d attempts", r.URL, r.Attempts)
				}
				if got := s.Calls(q.endpoint); got != 5 {
					t.Errorf("GitLab was asked %d times, want 5", got)
				}
				s.ClearFaults()
				row.fault.Calls = 2
				s.Fault(row.fault)
				if err := q.ask(t.Context(), newClient(t, s.URL(), withAccess), token); err != nil {
					t.Errorf("after two such answers and a good one: %v", err)
				}
			})
		}
	}
}

// Without a credential nothing is sent.
func TestQuestions_WithoutCredential(t *testing.T) {
	for _, q := range questions {
		if q.with == anonymous {
			continue
		}
		t.Run(q.name, func(t *testing.T) {
			s, _ := start(t, nil)
			err := q.ask(t.Context(), newClient(t, s.URL(), nil), "")
			if !errors.Is(err, gitlab.ErrNoCredential) && unlearnable(err) == "" {
				t.Errorf("error is %v, want no credential", err)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 0 {
				t.Errorf("GitLab was asked %d times", got)
			}
		})
	}
}

// A fact that every credential is refused cannot be learned, and the job's author reads which permission would teach it.
func TestFacts_RefusalNamesThePermission(t *testing.T) {
	const jobTokenPermissions, ours, noRight = "the project's job token permissions", "gitlab.tokenFile", "jobgate's access token"
	toGuest := func(i *gitlabtest.Instance) { i.User(9).Access[150] = 10 }
	oldBranches := func(i *gitlabtest.Instance) { i.Settings.RefusesBranchesToJobTokens = true }
	noEnvironments := func(i *gitlabtest.Instance) { i.Settings.RefusesEnvironmentsToJobTokens = true }
	strangerBot := func(i *gitlabtest.Instance) { delete(i.User(10).Access, 150) }
	rows := []struct {
		name   string
		change func(*gitlabtest.Instance)
		access string
		ask    question
		words  []string
		calls  int
	}{
		{name: "branch, old release", change: oldBranches, ask: askRef(job.Branch, "main"), words: []string{"branches", ours}, calls: 1},
		{name: "branch, guest's job", change: toGuest, ask: askRef(job.Branch, "main"), words: []string{"branches", ours}, calls: 1},
		{name: "branch, access token of a stranger, old release", access: accessToken,
			change: func(i *gitlabtest.Instance) { strangerBot(i); oldBranches(i) }, ask: askRef(job.Branch, "main"), words: []string{noRight}, calls: 2},
		{name: "branch, access token of too small a scope, old release", access: "glpat-registry", change: oldBranches,
			ask: askRef(job.Branch, "main"), words: []string{noRight}, calls: 2},
		{name: "branch, dead access token, old release", access: "glpat-unknown", change: oldBranches,
			ask: askRef(job.Branch, "main"), words: []string{noRight}, calls: 2},
		{name: "environment, job token may not", change: noEnvironments, ask: askEnvironment, words: []string{jobTokenPermissions, ours}, calls: 1},
		{name: "environment, guest's job", change: toGuest, ask: askEnvironment, words: []string{jobTokenPermissions, ours}, calls: 1},
		{name: "environment, neither may", access: "glpat-registry", change: noEnvironments, ask: askEnvironment, words: []string{noRight}, calls: 2},
		{name: "environment's name, job token may not", change: noEnvironments, ask: askName, words: []string{jobTokenPermissions, ours}, calls: 1},
		{name: "environment's name, neither may", access: "glpat-registry", change: noEnvironments, ask: askName, words: []string{noRight}, calls: 2},
		{name: "protected environment, no access token", ask: askProtectedEnvironment, words: []string{ours}, calls: 0},
		{name: "protected environment, a developer's access token", access: accessToken,
			change: func(i *gitlabtest.Instance) { i.User(10).Access[150] = 30 }, ask: askProtectedEnvironment, words: []string{noRight, "Maintainer"}, calls: 1},
		{name: "protected environment, Free tier", access: accessToken,
			change: func(i *gitlabtest.Instance) { i.Settings.Licensed = false }, ask: askProtectedEnvironment, words: []string{"Premium"}, calls: 1},
		{name: "groups, no access token", ask: askGroups, words: []string{ours}, calls: 0},
		{name: "groups, access token of too small a scope", access: "glpat-registry", ask: askGroups, words: []string{noRight}, calls: 1},
		{name: "groups, expired access token", access: "glpat-expired", ask: askGroups, words: []string{noRight}, calls: 1},
		{name: "groups, revoked access token", access: "glpat-revoked", ask: askGroups, words: []string{noRight}, calls: 1},
		{name: "groups, unknown access token", access: "glpat-unknown", ask: askGroups, words: []string{noRight}, calls: 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, row.change)
			c := newClient(t, s.URL(), func(o *gitlab.Options) { o.AccessToken = row.access })
			err := row.ask(t.Context(), c, token)
			why := unlearnable(err)
			for _, word := range row.words {
				if !strings.Contains(why, word) {
					t.Errorf("hint is %q (%v), want %q in it", why, err, word)
				}
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

// The job token is asked first, since it may do less.
func TestFacts_AccessTokenHelpsWhereTheJobTokenIsRefused(t *testing.T) {
	rows := []struct {
		name  string
		ask   func(ctx context.Context, c *gitlab.Client, token string) (any, error)
		want  any
		calls int
	}{
		{name: "environment", ask: func(ctx context.Context, c *gitlab.Client, token string) (any, error) {
			return c.EnvironmentNamed(ctx, token, identified(), "prod")
		}, want: true, calls: 2},
		{name: "environment's name", ask: func(ctx context.Context, c *gitlab.Client, token string) (any, error) {
			return c.EnvironmentName(ctx, token, identified(), []string{"*"})
		}, want: "prod", calls: 2},
		{name: "branch", ask: func(ctx context.Context, c *gitlab.Client, token string) (any, error) {
			return c.RefProtected(ctx, token, on(job.Branch, "main"))
		}, want: true, calls: 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, func(i *gitlabtest.Instance) {
				i.Settings.RefusesEnvironmentsToJobTokens, i.Settings.RefusesBranchesToJobTokens = true, true
			})
			got, err := row.ask(t.Context(), newClient(t, s.URL(), withAccess), token)
			if err != nil || got != row.want {
				t.Errorf("got %v, %v; want %v", got, err, row.want)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

// The end of a job is for Identify to tell: a fact that is refused to a dead token is only unknown for now.
func TestDetails_OfAnEndedJobDecideNothing(t *testing.T) {
	s, token := start(t, func(i *gitlabtest.Instance) { i.Job(jobID).Status = "success" })
	err := askDetails(t.Context(), newClient(t, s.URL(), nil), token)
	if !isUnavailable(err) || rejection(err) != "" || unlearnable(err) != "" {
		t.Errorf("error is %v, want unavailable", err)
	}
	if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
		t.Errorf("GitLab was asked %d times, want once", got)
	}
}

func TestMetrics_CountRequestsByResult(t *testing.T) {
	s, token := start(t, nil)
	metrics := prometheus.NewPedanticRegistry()
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.Metrics = gitlab.NewMetrics(metrics) })
	// The reset comes first: on a connection that was used before, net/http itself sends the request once more.
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Reset: true, Calls: 1},
		gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 502, Calls: 1},
		gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, ContentType: "text/html", Calls: 1})
	if _, err := c.Identify(t.Context(), token, nil, job.Logins); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Identify(t.Context(), "glcbt-64_00000000000000000000", nil, job.Logins); err == nil {
		t.Fatal("no error")
	}
	want := `
# HELP jobgate_gitlab_circuit_open 1 while the circuit breaker holds requests to GitLab back, else 0.
# TYPE jobgate_gitlab_circuit_open gauge
jobgate_gitlab_circuit_open 0
# HELP jobgate_gitlab_requests_in_flight Requests that GitLab has not answered yet, by lane (logins, refreshes) and age (quick, or slow after 250 ms).
# TYPE jobgate_gitlab_requests_in_flight gauge
jobgate_gitlab_requests_in_flight{age="quick",lane="logins"} 0
jobgate_gitlab_requests_in_flight{age="quick",lane="refreshes"} 0
jobgate_gitlab_requests_in_flight{age="slow",lane="logins"} 0
jobgate_gitlab_requests_in_flight{age="slow",lane="refreshes"} 0
# HELP jobgate_gitlab_requests_total Requests sent to GitLab, by endpoint and result (the HTTP status, or error where there was none).
# TYPE jobgate_gitlab_requests_total counter
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="401"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="502"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="error"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/job/allowed_agents",result="invalid"} 1
# HELP jobgate_gitlab_waiting_requests Requests that wait for the rate limit or for a place in flight, by queue (logins, refreshes, facts, unconfirmed).
# TYPE jobgate_gitlab_waiting_requests gauge
jobgate_gitlab_waiting_requests{queue="facts"} 0
jobgate_gitlab_waiting_requests{queue="logins"} 0
jobgate_gitlab_waiting_requests{queue="refreshes"} 0
jobgate_gitlab_waiting_requests{queue="unconfirmed"} 0
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "jobgate_gitlab_requests_total", "jobgate_gitlab_circuit_open",
		"jobgate_gitlab_requests_in_flight", "jobgate_gitlab_waiting_requests"); err != nil {
		t.Error(err)
	}
}
