package gitlab_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

func TestIdentify_ReadsTheWholeReply(t *testing.T) {
	s, token := start(t, nil)
	got, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins)
	if err != nil {
		t.Fatal(err)
	}
	want := identified()
	want.Groups = job.KnownFact([]int64{25, 23})
	want.Roles = job.KnownFact(got.Roles.Value)
	want.Agents = []job.Agent{{ID: 4, ConfigProjectID: 150, Configuration: &job.Configuration{AccessAs: job.AsCIJob}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
	if roles := strings.Join(got.Roles.Value, " "); !strings.Contains(roles, "reporter") || !strings.Contains(roles, "galactic_overlord") {
		t.Errorf("roles are %q, want reporter and the unknown one among them", roles)
	}
}

func TestIdentify_SendsTheTokenInItsHeaderOnly(t *testing.T) {
	s, token := start(t, nil)
	if _, err := newClient(t, s.URL(), withAccess).Identify(t.Context(), token, nil, job.Logins); err != nil {
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
		if strings.Contains(strings.Join(values, " "), accessToken) {
			t.Errorf("header %s has the access token", name)
		}
	}
	if got := seen.Header["User-Agent"]; len(got) != 1 || got[0] != "jobgate/test" {
		t.Errorf("user agent is %q", got)
	}
}

func TestIdentify_BelowRelativeURLRoot(t *testing.T) {
	for _, suffix := range []string{"", "/"} {
		t.Run("base URL ends in gitlab"+suffix, func(t *testing.T) {
			s, err := gitlabtest.Start(gitlabtest.Options{RelativeURLRoot: "/gitlab", Instance: instance()})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			i := s.Instance()
			if _, err := newClient(t, s.URL()+suffix, nil).Identify(t.Context(), i.Job(jobID).Token, nil, job.Logins); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIdentify_DefiniteRefusalsAreNotRetried(t *testing.T) {
	rows := []struct {
		name   string
		change func(*gitlabtest.Instance)
		token  string // the job's, when empty
		want   job.Rejection
		words  string
	}{
		{name: "job ended", change: func(i *gitlabtest.Instance) { i.Job(jobID).Status = "success" }, want: job.NotRunning, words: "401 Unauthorized"},
		{name: "job erased", change: func(i *gitlabtest.Instance) { i.Job(jobID).Erased = true }, want: job.NotRunning, words: "401 Unauthorized"},
		{name: "job without user", change: func(i *gitlabtest.Instance) { i.Job(jobID).User = 0 }, want: job.NotRunning, words: "401 Unauthorized"},
		{name: "project going", change: func(i *gitlabtest.Instance) { i.Project(150).PendingDelete = true },
			want: job.NotRunning, words: "401 Unauthorized"},
		{name: "unknown token", token: "glcbt-64_00000000000000000000", want: job.NotRunning, words: "401 Unauthorized"},
		{name: "blocked user", change: func(i *gitlabtest.Instance) { i.User(9).DeniedReason = gitlabtest.DeniedBlocked },
			want: job.ForbiddenUser, words: gitlabtest.DeniedBlocked},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, row.change)
			if row.token != "" {
				token = row.token
			}
			_, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins)
			var rejected *job.RejectedError
			if !errors.As(err, &rejected) || rejected.Rejection != row.want || !strings.Contains(rejected.Message, row.words) {
				t.Fatalf("error is %v, want %s with %q", err, row.want, row.words)
			}
			if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestIdentify_TokenOfNoJob(t *testing.T) {
	s, token := start(t, nil)
	s.Fault(gitlabtest.Fault{
		Endpoint: gitlabtest.AllowedAgents, Status: 404, ContentType: "application/json", Body: `{"message":"404 Job Not Found"}`,
	})
	if _, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins); rejection(err) != job.NotAJob {
		t.Errorf("error is %v, want %s", err, job.NotAJob)
	}
}

const jsonType = "application/json"

// useless are answers that decide nothing, and are asked for again.
var useless = []struct {
	name  string
	fault gitlabtest.Fault
}{
	{"401 from a proxy", gitlabtest.Fault{Status: 401, Body: "<html>log in</html>"}},
	{"401 without body", gitlabtest.Fault{Status: 401, ContentType: jsonType}},
	{"401 with a JSON array", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `["message"]`}},
	{"401 with JSON under a wrong media type", gitlabtest.Fault{Status: 401, ContentType: "text/plain", Body: `{"message":"401 Unauthorized"}`}},
	{"401 from an API gateway", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":"Unauthorized"}`}},
	{"401 with another status in its message", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":"403 Forbidden"}`}},
	{"401 with a longer number in its message", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":"4011 Unauthorized"}`}},
	{"401 with only the status in its message", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":"401"}`}},
	{"401 with a message that is no text", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":{"401 Unauthorized":1}}`}},
	{"401 for an access token", gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"error":"unknown"}`}},
	{"403 from AWS", gitlabtest.Fault{Status: 403, ContentType: jsonType, Body: `{"message":"Forbidden"}`}},
	{"403 from a firewall", gitlabtest.Fault{Status: 403, Body: "<html>blocked</html>"}},
	{"404 from Kong", gitlabtest.Fault{Status: 404, ContentType: jsonType, Body: `{"message":"no Route matched with those values"}`}},
	{"404 of an unknown route", gitlabtest.Fault{Status: 404, ContentType: jsonType, Body: `{"error":"404 Not Found"}`}},
	{"404 page", gitlabtest.Fault{Status: 404, Body: "<html>not found</html>"}},
	{"400", gitlabtest.Fault{Status: 400, ContentType: jsonType, Body: `{"message":"400 Bad request"}`}},
	{"429", gitlabtest.Fault{Status: 429, ContentType: "text/plain", Body: "Retry later"}},
	{"429 at GitLab.com's edge", gitlabtest.RateLimitedAtEdge()},
	{"500", gitlabtest.Fault{Status: 500, ContentType: jsonType, Body: `{"message":"500 Internal Server Error"}`}},
	{"502", gitlabtest.BadGateway()},
	{"503", gitlabtest.Unavailable()},
	{"204", gitlabtest.Fault{Status: 204}},
	{"200 as HTML", gitlabtest.Fault{ContentType: "text/html"}},
	{"200 without media type", gitlabtest.Fault{Status: 200, ContentType: ";", Body: "{}"}},
	{"200 with a number", gitlabtest.Fault{Status: 200, ContentType: jsonType, Body: "1"}},
	{"200 with no JSON", gitlabtest.Fault{Status: 200, ContentType: jsonType, Body: "ok"}},
	{"200 with null", gitlabtest.Fault{Status: 200, ContentType: jsonType, Body: "null"}},
	{"200 with an empty object", gitlabtest.Fault{Status: 200, ContentType: jsonType, Body: "{}"}},
	{"200 with a list of numbers", gitlabtest.Fault{Status: 200, ContentType: jsonType, Body: "[1]"}},
	{"truncated", gitlabtest.Fault{Truncate: true}},
	{"oversized", gitlabtest.Fault{Oversize: 2 << 20}},
	{"redirect", gitlabtest.Fault{Redirect: "http://127.0.0.1:1/"}},
	{"connection reset", gitlabtest.Fault{Reset: true}},
}

func TestIdentify_EverythingElseIsRetried(t *testing.T) {
	for _, row := range useless {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, nil)
			c := newClient(t, s.URL(), nil)
			row.fault.Endpoint = gitlabtest.AllowedAgents
			s.Fault(row.fault)

			_, err := c.Identify(t.Context(), token, nil, job.Logins)
			if r := request(t, err); r.URL != s.URL()+"/api/v4/job/allowed_agents" || r.Attempts != 5 {
				t.Errorf("error names %s after %d attempts", r.URL, r.Attempts)
			}
			if got := s.Calls(gitlabtest.AllowedAgents); got != 5 {
				t.Errorf("GitLab was asked %d times, want 5", got)
			}
			s.ClearFaults()
			row.fault.Calls = 2
			s.Fault(row.fault)
			if _, err := c.Identify(t.Context(), token, nil, job.Logins); err != nil {
				t.Errorf("after two such answers and a good one: %v", err)
			}
		})
	}
}

func TestRequestError_SaysWhatTheLastAnswerWas(t *testing.T) {
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
			s, token := start(t, nil)
			row.fault.Endpoint = gitlabtest.AllowedAgents
			s.Fault(row.fault)
			_, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins)
			if got := request(t, err).Status; got != row.want {
				t.Errorf("status is %d, want %d", got, row.want)
			}
		})
	}
}

func TestIdentify_RedirectIsNotFollowed(t *testing.T) {
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the token was carried to another server")
	}))
	defer stranger.Close()
	s, token := start(t, nil)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Redirect: stranger.URL})
	if _, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins); err == nil {
		t.Error("no error")
	}
}

func TestIdentify_RetryAfter(t *testing.T) {
	t.Run("longer than the lookup may take ends it", func(t *testing.T) {
		s, token := start(t, nil)
		s.Fault(gitlabtest.RateLimited(time.Minute))
		_, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins)
		var unavailable *job.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.RetryAfter < 50*time.Second || unavailable.RetryAfter > time.Minute {
			t.Fatalf("error is %#v, want one that says to wait a minute", err)
		}
		if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
			t.Errorf("GitLab was asked %d times after it had said to wait, want once", got)
		}
	})
	t.Run("within the lookup is waited for", func(t *testing.T) {
		s, token := start(t, nil)
		limited := gitlabtest.RateLimited(time.Second)
		limited.Calls = 1
		s.Fault(limited)
		start := time.Now()
		if _, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited < time.Second {
			t.Errorf("waited %s, GitLab had asked for a second", waited)
		}
	})
}

// A question that hangs is not asked a second time: that would only hang again.
func TestIdentify_HangingAttemptEndsTheLookup(t *testing.T) {
	s, token := start(t, nil)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Hang: true})
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.Timeout = 100 * time.Millisecond })
	_, err := c.Identify(t.Context(), token, nil, job.Logins)
	var unavailable *job.UnavailableError
	if !errors.As(err, &unavailable) || !unavailable.TimedOut || request(t, err).Attempts != 1 {
		t.Fatalf("error is %v, want one about one attempt that timed out", err)
	}
	if got := s.Calls(gitlabtest.AllowedAgents); got != 1 {
		t.Errorf("GitLab was asked %d times, want once", got)
	}
	s.ClearFaults()
	if _, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins); err != nil {
		t.Errorf("after the hang: %v", err)
	}
}

func TestIdentify_CertificateAuthority(t *testing.T) {
	s, err := gitlabtest.Start(gitlabtest.Options{TLS: true, Instance: instance()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	i := s.Instance()
	token := i.Job(jobID).Token
	t.Run("unknown", func(t *testing.T) {
		_, err := newClient(t, s.URL(), nil).Identify(t.Context(), token, nil, job.Logins)
		if !isUnavailable(err) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error is %v, want one that names the certificate", err)
		}
	})
	t.Run("in the extra bundle", func(t *testing.T) {
		c := newClient(t, s.URL(), func(o *gitlab.Options) { o.CABundle = s.CACertPEM() })
		if _, err := c.Identify(t.Context(), token, nil, job.Logins); err != nil {
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
