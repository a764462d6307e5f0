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
)

func TestFacts_SendOneTokenInItsOwnHeaderOnly(t *testing.T) {
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			s, c, token := factsServer(t, nil)
			if err := q.ask(t.Context(), c, token); err != nil {
				t.Fatal(err)
			}
			seen := s.Requests(gitlabtest.AnyEndpoint)
			if len(seen) != 1 || seen[0].Endpoint != q.endpoint || seen[0].Method != http.MethodGet {
				t.Fatalf("%d requests, want one to %s", len(seen), q.endpoint)
			}
			header, other := "Job-Token", "Private-Token"
			if q.access {
				header, other, token = other, header, accessToken
			}
			h := http.Header(seen[0].Header)
			if values := h.Values(header); len(values) != 1 || values[0] != token {
				t.Errorf("%s does not hold the token alone", header)
			}
			if len(h.Values(other)) != 0 {
				t.Errorf("%s is sent too", other)
			}
			delete(seen[0].Header, header)
			if strings.Contains(fmt.Sprint(seen[0]), token) {
				t.Errorf("the token is elsewhere in the request, too")
			}
		})
	}
}

// GitLab's own no is a definite answer about what was asked, and never about the job.
func TestFacts_RefusalsAreNotRetried(t *testing.T) {
	const unauthorized = "401 Unauthorized"
	rows := []struct {
		name    string
		change  func(*gitlabtest.Instance)
		access  string // the access token, where not the usual one
		ask     asked
		status  int
		message string
	}{
		{name: "job has ended, its own record", change: func(w *gitlabtest.Instance) { w.Job(jobID).Status = "success" },
			ask: askCurrentJob, status: 401, message: unauthorized},
		{name: "job has ended, branches", change: func(w *gitlabtest.Instance) { w.Job(jobID).Status = "success" },
			ask: askBranches, status: 401, message: unauthorized},
		{name: "job's user is blocked", change: func(w *gitlabtest.Instance) { w.User(9).DeniedReason = gitlabtest.DeniedBlocked },
			ask: askCurrentJob, status: 403, message: "403 Forbidden - " + gitlabtest.DeniedBlocked},
		{name: "release that keeps branches from job tokens", change: func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true },
			ask: askBranches, status: 404, message: "404 Project Not Found"},
		{name: "permissions that keep environments from job tokens", change: func(w *gitlabtest.Instance) { w.Settings.RefusesEnvironmentsToJobTokens = true },
			ask: askEnvironments, status: 403, message: "403 Forbidden - Insufficient permissions to access this resource in project project1. " +
				"The following token permission is required: read_environments."},
		{name: "guest's job, branches", change: func(w *gitlabtest.Instance) { w.User(9).Access[150] = 10 },
			ask: askBranches, status: 403, message: "403 Forbidden"},
		{name: "guest's job, environments", change: func(w *gitlabtest.Instance) { w.User(9).Access[150] = 10 },
			ask: askEnvironments, status: 403, message: "403 Forbidden"},
		{name: "another project's branches", change: func(w *gitlabtest.Instance) { w.User(9).Access[7] = 50 },
			ask: func(ctx context.Context, c *gitlab.Client, token string) error {
				_, err := c.BranchListed(ctx, token, 7, "main")
				return err
			}, status: 404, message: "404 Project Not Found"},
		{name: "another project's environments", change: func(w *gitlabtest.Instance) { w.User(9).Access[7] = 50 },
			ask: func(ctx context.Context, c *gitlab.Client, token string) error {
				_, err := c.EnvironmentName(ctx, gitlab.JobToken(token), 7, "prod")
				return err
			}, status: 404, message: "404 Project Not Found"},
		{name: "one branch, by job token", ask: func(ctx context.Context, c *gitlab.Client, token string) error {
			_, err := c.BranchProtected(ctx, gitlab.JobToken(token), 150, "main")
			return err
		}, status: 404, message: "404 Project Not Found"},
		{name: "one tag, by job token", ask: func(ctx context.Context, c *gitlab.Client, token string) error {
			_, err := c.TagProtected(ctx, gitlab.JobToken(token), 150, "v1.0")
			return err
		}, status: 404, message: "404 Project Not Found"},
		{name: "project the access token may not see", ask: func(ctx context.Context, c *gitlab.Client, _ string) error {
			_, err := c.BranchProtected(ctx, c.Access(), 7, "main")
			return err
		}, status: 404, message: "404 Project Not Found"},
		{name: "no such project", ask: func(ctx context.Context, c *gitlab.Client, _ string) error {
			_, err := c.TagProtected(ctx, c.Access(), 1, "v1.0")
			return err
		}, status: 404, message: "404 Project Not Found"},
		{name: "access token of a guest", change: func(w *gitlabtest.Instance) { w.User(9).Access[150] = 10 },
			ask: askTag, status: 403, message: "403 Forbidden"},
		{name: "access token of too small a scope, branch", access: "glpat-registry", ask: askBranch, status: 403, message: "insufficient_scope"},
		{name: "access token of too small a scope, tag", access: "glpat-registry", ask: askTag, status: 403, message: "insufficient_scope"},
		{name: "access token of too small a scope, environments", access: "glpat-registry", ask: askEnvironmentsByAccess, status: 403, message: "insufficient_scope"},
		{name: "unknown access token", access: "glpat-unknown", ask: askEnvironmentsByAccess, status: 401, message: unauthorized},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c, token := factsServer(t, row.change)
			if row.access != "" {
				c = newClient(t, s.URL(), func(o *gitlab.Options) { o.AccessToken = row.access })
			}
			err := row.ask(t.Context(), c, token)
			var refused *gitlab.RefusedError
			if !errors.As(err, &refused) || refused.Status != row.status || refused.Message != row.message {
				t.Fatalf("error is %v, want GitLab's %d with %q", err, row.status, row.message)
			}
			var rejected *gitlab.RejectedError
			if errors.As(err, &rejected) || errors.Is(err, gitlab.ErrNotFound) {
				t.Errorf("error %v is also of another kind", err)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

// What an expired or revoked access token gets (lib/api/api_guard.rb) has another form than all other refusals.
func TestFacts_DeadAccessTokenIsRefused(t *testing.T) {
	dead := gitlabtest.Fault{Status: 401, ContentType: "application/json",
		Body: `{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}`}
	for _, q := range questions {
		t.Run(q.name, func(t *testing.T) {
			s, c, token := factsServer(t, nil)
			dead.Endpoint = q.endpoint
			s.Fault(dead)
			err := q.ask(t.Context(), c, token)
			var refused *gitlab.RefusedError
			if errors.As(err, &refused) != q.access {
				t.Fatalf("error is %v; only an access token is refused so", err)
			}
			if q.access && (refused.Message != "invalid_token" || refused.Endpoint != q.path) {
				t.Errorf("error is %#v", refused)
			}
		})
	}
}

// Whatever stands between jobgate and GitLab's own answer teaches nothing, and is asked again.
func TestFacts_EverythingElseIsRetried(t *testing.T) {
	rows := []struct {
		name  string
		fault gitlabtest.Fault
	}{
		{"401 from a proxy", gitlabtest.Fault{Status: 401, Body: "<html>log in</html>"}},
		{"403 from a firewall", gitlabtest.Fault{Status: 403, Body: "<html>blocked</html>"}},
		{"404 of an unknown route", gitlabtest.Fault{Status: 404, ContentType: "application/json", Body: `{"error":"404 Not Found"}`}},
		{"404 page", gitlabtest.Fault{Status: 404, Body: "<html>not found</html>"}},
		{"429", gitlabtest.Fault{Status: 429, ContentType: "text/plain", Body: "Retry later"}},
		{"500", gitlabtest.Fault{Status: 500, ContentType: "application/json", Body: `{"message":"500 Internal Server Error"}`}},
		{"502", gitlabtest.Fault{Status: 502, Body: "<html>bad gateway</html>"}},
		{"200 as HTML", gitlabtest.Fault{ContentType: "text/html"}},
		{"200 with no JSON", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "ok"}},
		{"200 with null", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "null"}},
		{"200 with an empty object", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "{}"}},
		{"200 with a list of numbers", gitlabtest.Fault{Status: 200, ContentType: "application/json", Body: "[1]"}},
		{"truncated", gitlabtest.Fault{Truncate: true}},
		{"oversized", gitlabtest.Fault{Oversize: 1<<20 + 1}},
		{"redirect", gitlabtest.Fault{Redirect: "http://127.0.0.1:1/"}},
	}
	for _, q := range questions {
		for _, row := range rows {
			t.Run(q.name+" "+row.name, func(t *testing.T) {
				s, c, token := factsServer(t, nil)
				row.fault.Endpoint = q.endpoint
				s.Fault(row.fault)
				err := q.ask(t.Context(), c, token)
				var unavailable *gitlab.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Fatalf("error is %v, want unavailable", err)
				}
				if unavailable.URL != s.URL()+"/"+q.path || unavailable.Attempts != 5 {
					t.Errorf("error names %s after %d attempts", unavailable.URL, unavailable.Attempts)
				}
				if got := s.Calls(q.endpoint); got != 5 {
					t.Errorf("GitLab was asked %d times, want 5", got)
				}
				s.ClearFaults()
				row.fault.Calls = 2
				s.Fault(row.fault)
				if err := q.ask(t.Context(), c, token); err != nil {
					t.Errorf("after two such answers and a good one: %v", err)
				}
			})
		}
	}
}

func TestFacts_ErrorsNeverRepeatTheToken(t *testing.T) {
	for _, q := range questions {
		for _, status := range []int{200, 401, 403, 404, 500} {
			t.Run(fmt.Sprintf("%s %d", q.name, status), func(t *testing.T) {
				s, c, token := factsServer(t, nil)
				s.Fault(gitlabtest.Fault{Endpoint: q.endpoint, Status: status, EchoToken: true})
				err := q.ask(t.Context(), c, token)
				if err == nil {
					t.Fatal("no error")
				}
				if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, token) || strings.Contains(text, accessToken) {
					t.Error("the error repeats the token")
				}
			})
		}
	}
}

// The limits, the breaker and the queue are the client's, whichever endpoint is asked.
func TestFacts_ShareTheBreakerWithLookups(t *testing.T) {
	s, c, token := factsServer(t, nil)
	s.Fault(gitlabtest.Unavailable())
	for range 2 {
		if _, err := c.AllowedAgents(t.Context(), token, gitlab.Login); err == nil {
			t.Fatal("no error")
		}
	}
	for _, q := range questions {
		if err := q.ask(t.Context(), c, token); !errors.Is(err, gitlab.ErrCircuitOpen) {
			t.Errorf("%s: error is %v, want an open circuit", q.name, err)
		}
		if got := s.Calls(q.endpoint); got != 0 {
			t.Errorf("%s: GitLab was asked %d times while the circuit was open", q.name, got)
		}
	}
}

func TestFacts_MetricsHoldNoIDsAndNoNames(t *testing.T) {
	s, _, token := factsServer(t, nil)
	metrics := prometheus.NewPedanticRegistry()
	c := newClient(t, s.URL(), func(o *gitlab.Options) {
		o.AccessToken, o.Metrics = accessToken, gitlab.NewMetrics(metrics)
	})
	for _, q := range questions {
		if err := q.ask(t.Context(), c, token); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.BranchProtected(t.Context(), c.Access(), 150, "gone"); !errors.Is(err, gitlab.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := c.BranchProtected(t.Context(), c.Access(), 7, "main"); err == nil {
		t.Fatal("no error")
	}
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Tag, Status: 403, ContentType: "application/json", Body: `{"message":"403 Forbidden"}`})
	if _, err := c.TagProtected(t.Context(), c.Access(), 150, "v1.0"); err == nil {
		t.Fatal("no error")
	}
	want := `
# HELP jobgate_gitlab_requests_total Requests sent to GitLab, by endpoint and result (the HTTP status, or error where there was none).
# TYPE jobgate_gitlab_requests_total counter
jobgate_gitlab_requests_total{endpoint="api/v4/job",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/environments",result="200"} 2
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/repository/branches",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/repository/branches/:branch",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/repository/branches/:branch",result="404"} 2
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/repository/tags/:tag",result="200"} 1
jobgate_gitlab_requests_total{endpoint="api/v4/projects/:id/repository/tags/:tag",result="403"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "jobgate_gitlab_requests_total"); err != nil {
		t.Error(err)
	}
}
