package doctor_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// row is one thing that is wrong with a scene.
type row struct {
	name    string
	arrange func(*scene)
	finding string
	state   doctor.State
	say     []string // what the finding says, in any of its lines
	not     []string // and what it does not
}

func (r row) check(t *testing.T) {
	t.Helper()
	s := newScene(t)
	r.arrange(s)
	got := finding(t, s.run(), r.finding)
	if got.State != r.state {
		t.Errorf("%s is %s, want %s: %s", r.finding, got.State, r.state, text(got))
	}
	if got.State != doctor.OK && got.State != doctor.NotChecked && got.Do == "" {
		t.Errorf("%s does not say what to do: %s", r.finding, text(got))
	}
	for _, want := range r.say {
		if !strings.Contains(text(got), want) {
			t.Errorf("%s lacks %q: %s", r.finding, want, text(got))
		}
	}
	for _, unwanted := range r.not {
		if strings.Contains(text(got), unwanted) {
			t.Errorf("%s has %q: %s", r.finding, unwanted, text(got))
		}
	}
}

func set(name, value string) func(*scene) { return func(s *scene) { s.vars[name] = value } }

func change(f func(*gitlabtest.Instance)) func(*scene) { return func(s *scene) { s.update(f) } }

func TestRun_JobAndGitLab(t *testing.T) {
	rows := []row{
		{"no token", set("CI_JOB_TOKEN", ""), "variables", doctor.Failure, []string{"CI_JOB_TOKEN is not set"}, nil},
		{"no token, the token's check", set("CI_JOB_TOKEN", ""), "token", doctor.NotChecked, []string{"there is no CI_JOB_TOKEN"}, nil},
		{"no URL", set("CI_API_V4_URL", ""), "variables", doctor.Failure, []string{"CI_API_V4_URL is not set"}, nil},
		{"neither", func(s *scene) { s.vars = map[string]string{} }, "variables", doctor.Failure,
			[]string{"CI_JOB_TOKEN is not set: GitLab sets it in every job, so run this in the script of one; CI_API_V4_URL is not set"}, nil},
		{"the token as a URL's password", func(s *scene) { s.vars["CI_API_V4_URL"] = "https://ci:" + s.token + "@gitlab/api/v4" },
			"variables", doctor.Failure, []string{"CI_API_V4_URL is not a URL"}, nil},
		{"no job id", set("CI_JOB_ID", ""), "variables", doctor.Warning, []string{"CI_JOB_ID is not set"}, nil},
		{"a project id that is none", set("CI_PROJECT_ID", "acme/web"), "variables", doctor.Warning, []string{"CI_PROJECT_ID"}, nil},

		{"a token with a line's end", func(s *scene) { s.vars["CI_JOB_TOKEN"] += "\n" }, "token", doctor.Failure,
			[]string{"the job token has characters that no GitLab token has"}, nil},
		{"a token with a line's end is not sent", func(s *scene) { s.vars["CI_JOB_TOKEN"] += "\n" }, "gitlab", doctor.NotChecked,
			[]string{"CI_JOB_TOKEN is not a token"}, nil},
		{"a JWT", tokenFormat("jwt", time.Hour), "token", doctor.OK, []string{"is a JWT, valid for 1h0m"}, nil},
		{"a JWT that has expired", tokenFormat("jwt", -time.Hour), "token", doctor.Failure, []string{"expired", "run the job again"}, nil},

		{"the job has ended", (*scene).endJob, "gitlab", doctor.Failure, []string{"401", "the job has ended"}, nil},
		{"the user is blocked", change(func(w *gitlabtest.Instance) { w.Users[0].DeniedReason = gitlabtest.DeniedBlocked }),
			"gitlab", doctor.Failure, []string{"403", "Your account has been blocked.", "correct the account"}, nil},
		{"another kind of token", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) {
				w.Tokens = []gitlabtest.AccessToken{{Token: "glpat-SecretSecretSecret1", User: 9, Scopes: []string{"api"}}}
			})
			s.vars["CI_JOB_TOKEN"], s.token = "glpat-SecretSecretSecret1", "glpat-SecretSecretSecret1"
		}, "gitlab", doctor.Failure, nil, []string{"Secret"}},
		{"a CA that is not there", set("CI_SERVER_TLS_CA_FILE", "/nonexistent/ca.crt"), "gitlab", doctor.Failure,
			[]string{"/nonexistent/ca.crt", "tls-ca-file"}, nil},
		{"a GitLab that repeats the token", func(s *scene) {
			s.gitlab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 403, EchoToken: true})
		}, "gitlab", doctor.Failure, []string{"403"}, nil},
		{"GitLab's limit", func(s *scene) { s.gitlab.Fault(gitlabtest.RateLimited(time.Minute)) }, "gitlab", doctor.Failure,
			[]string{"429", "raise the limit"}, nil},

		{"another job's token", set("CI_JOB_ID", "1002"), "job", doctor.Failure,
			[]string{"the token belongs to job 1001 of project 150, but CI_JOB_ID is 1002"}, nil},
		{"another project's token", set("CI_PROJECT_ID", "151"), "job", doctor.Failure, []string{"CI_PROJECT_ID is 151"}, nil},
		{"no environment", change(func(w *gitlabtest.Instance) { w.Job(jobID).Environment = "" }), "job", doctor.OK,
			[]string{"no environment"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

func tokenFormat(format string, lasts time.Duration) func(*scene) {
	return func(s *scene) {
		s.update(func(w *gitlabtest.Instance) {
			j := w.Job(jobID)
			j.Token, j.TokenFormat, j.TokenExpires = "", format, time.Now().Add(lasts).Add(time.Second)
		})
		w := s.gitlab.Instance()
		s.token = w.Job(jobID).Token
		s.vars["CI_JOB_TOKEN"] = s.token
	}
}

func TestRun_WithoutTLS(t *testing.T) {
	s := newScene(t)
	plain := gitlabtest.New(t, world())
	w := plain.Instance()
	s.token = w.Job(jobID).Token
	s.vars["CI_JOB_TOKEN"], s.vars["CI_API_V4_URL"] = s.token, plain.URL()+"/api/v4"
	s.writeKubeconfig(nil)
	if f := finding(t, s.run(), "variables"); f.State != doctor.Warning || !strings.Contains(f.What, "unencrypted") {
		t.Errorf("variables is %s: %s", f.State, text(f))
	}
}

func TestExplainGitLab(t *testing.T) {
	unavailable := func(status int, cause error) error {
		return &gitlab.UnavailableError{URL: "https://gitlab/api/v4/job/allowed_agents", Attempts: 5, Status: status, Err: cause}
	}
	rows := []struct {
		name     string
		err      error
		what, do string
	}{
		{"401", &gitlab.RejectedError{Status: 401, Message: "401 Unauthorized"}, "the job has ended", "run the job again"},
		{"403", &gitlab.RejectedError{Status: 403, Message: "403 Forbidden - blocked"}, "blocked", "account"},
		{"404", &gitlab.RejectedError{Status: 404, Message: "404 Job Not Found"}, "not a job's (404)", "personal"},
		{"500", unavailable(500, errors.New("answered 500")), "answered 500", "wildcard"},
		{"429", unavailable(429, errors.New("answered 429")), "answered 429", "limit"},
		{"502", unavailable(502, errors.New("answered 502")), "answered 502", "restarting"},
		{"a login page", unavailable(200, errors.New("media type is text/html")), "media type", "instead of GitLab"},
		{"a proxy's 403", unavailable(403, errors.New("not GitLab's own refusal")), "refusal", "instead of GitLab"},
		{"an unknown CA", unavailable(0, x509.UnknownAuthorityError{}), "unknown authority", "CI_SERVER_TLS_CA_FILE"},
		{"another name", unavailable(0, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), "h", "not for the name"},
		{"no name", unavailable(0, &net.DNSError{Err: "no such host", Name: "gitlab"}), "no such host", "DNS"},
		{"nobody there", unavailable(0, errors.New("connection refused")), "connection refused", "cannot reach it"},
		{"anything", errors.New("anything"), "anything", "cannot reach it"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			what, do := doctor.ExplainGitLab(fmt.Errorf("ask: %w", row.err))
			if !strings.Contains(what, row.what) || !strings.Contains(do, row.do) {
				t.Errorf("got %q and %q, want %q and %q", what, do, row.what, row.do)
			}
		})
	}
}
