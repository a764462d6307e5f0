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
	"github.com/jobgate/jobgate/internal/job"
)

// row is one thing that is wrong with a setup.
type row struct {
	name    string
	arrange func(*setup) // nil: nothing is wrong
	finding string
	state   doctor.State
	say     []string // what the finding says, in any of its lines
	not     []string // and what it does not
}

func (r row) check(t *testing.T) {
	t.Helper()
	s := newSetup(t)
	if r.arrange != nil {
		r.arrange(s)
	}
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

func set(name, value string) func(*setup) { return func(s *setup) { s.vars[name] = value } }

func change(f func(*gitlabtest.Instance)) func(*setup) { return func(s *setup) { s.update(f) } }

func TestRun_JobAndGitLab(t *testing.T) {
	rows := []row{
		{name: "no token", arrange: set("CI_JOB_TOKEN", ""), finding: "variables", state: doctor.Failure,
			say: []string{"CI_JOB_TOKEN is not set"}},
		{name: "no token, the token's check", arrange: set("CI_JOB_TOKEN", ""), finding: "token", state: doctor.NotChecked,
			say: []string{"there is no CI_JOB_TOKEN"}},
		{name: "no URL", arrange: set("CI_API_V4_URL", ""), finding: "variables", state: doctor.Failure,
			say: []string{"CI_API_V4_URL is not set"}},
		{name: "neither", arrange: func(s *setup) { s.vars = map[string]string{} }, finding: "variables", state: doctor.Failure,
			say: []string{"CI_JOB_TOKEN is not set: GitLab sets it in every job, so run this in the script of one; CI_API_V4_URL is not set"}},
		{name: "the token as a URL's password",
			arrange: func(s *setup) { s.vars["CI_API_V4_URL"] = "https://ci:" + s.token + "@gitlab/api/v4" },
			finding: "variables", state: doctor.Failure, say: []string{"CI_API_V4_URL is not a URL"}},
		{name: "no job id", arrange: set("CI_JOB_ID", ""), finding: "variables", state: doctor.Warning,
			say: []string{"CI_JOB_ID is not set"}},
		{name: "a project id that is none", arrange: set("CI_PROJECT_ID", "acme/web"), finding: "variables", state: doctor.Warning,
			say: []string{"CI_PROJECT_ID"}},

		{name: "a token with a line's end", arrange: func(s *setup) { s.vars["CI_JOB_TOKEN"] += "\n" },
			finding: "token", state: doctor.Failure,
			say: []string{"the job token has characters that no GitLab token has"}},
		{name: "a token with a line's end is not sent", arrange: func(s *setup) { s.vars["CI_JOB_TOKEN"] += "\n" },
			finding: "gitlab", state: doctor.NotChecked,
			say: []string{"CI_JOB_TOKEN is not a token"}},
		{name: "a JWT", arrange: tokenFormat("jwt", time.Hour), finding: "token", state: doctor.OK,
			say: []string{"is a JWT, valid for 1h0m"}},
		{name: "a JWT that has expired", arrange: tokenFormat("jwt", -time.Hour), finding: "token", state: doctor.Failure,
			say: []string{"expired", "run the job again"}},

		{name: "the job has ended", arrange: (*setup).endJob, finding: "gitlab", state: doctor.Failure,
			say: []string{"401", "the job has ended"}},
		{name: "the user is blocked", arrange: change(func(w *gitlabtest.Instance) { w.Users[0].DeniedReason = gitlabtest.DeniedBlocked }),
			finding: "gitlab", state: doctor.Failure, say: []string{"403", "Your account has been blocked.", "correct the account"}},
		{name: "another kind of token", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) {
				w.Tokens = []gitlabtest.AccessToken{{Token: "glpat-SecretSecretSecret1", User: 9, Scopes: []string{"api"}}}
			})
			s.vars["CI_JOB_TOKEN"], s.token = "glpat-SecretSecretSecret1", "glpat-SecretSecretSecret1"
		}, finding: "gitlab", state: doctor.Failure, not: []string{"Secret"}},
		{name: "a CA that is not there", arrange: set("CI_SERVER_TLS_CA_FILE", "/nonexistent/ca.crt"),
			finding: "gitlab", state: doctor.Failure,
			say: []string{"/nonexistent/ca.crt", "tls-ca-file"}},
		{name: "a GitLab that repeats the token", arrange: func(s *setup) {
			s.gitlab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 403, EchoToken: true})
		}, finding: "gitlab", state: doctor.Failure, say: []string{"403"}},
		{name: "GitLab's limit", arrange: func(s *setup) { s.gitlab.Fault(gitlabtest.RateLimited(time.Minute)) },
			finding: "gitlab", state: doctor.Failure,
			say: []string{"429", "raise the limit"}},

		{name: "another job's token", arrange: set("CI_JOB_ID", "1002"), finding: "job", state: doctor.Failure,
			say: []string{"the token belongs to job 1001 of project 150, but CI_JOB_ID is 1002"}},
		{name: "another project's token", arrange: set("CI_PROJECT_ID", "151"), finding: "job", state: doctor.Failure,
			say: []string{"CI_PROJECT_ID is 151"}},
		{name: "no environment", arrange: change(func(w *gitlabtest.Instance) { w.Job(jobID).Environment = "" }),
			finding: "job", state: doctor.OK,
			say: []string{"no environment"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

func tokenFormat(format string, lasts time.Duration) func(*setup) {
	return func(s *setup) {
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
	s := newSetup(t)
	plain := gitlabtest.New(t, instance())
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
		return &job.UnavailableError{Err: &gitlab.RequestError{
			URL: "https://gitlab/api/v4/job/allowed_agents", Attempts: 5, Status: status, Err: cause,
		}}
	}
	rows := []struct {
		name     string
		err      error
		what, do string
	}{
		{name: "401", err: &job.RejectedError{Rejection: job.NotRunning, Message: "401 Unauthorized"}, what: "the job has ended",
			do: "run the job again"},
		{name: "403", err: &job.RejectedError{Rejection: job.ForbiddenUser, Message: "403 Forbidden - blocked"}, what: "blocked", do: "account"},
		{name: "404", err: &job.RejectedError{Rejection: job.NotAJob, Message: "404 Job Not Found"}, what: "not a job's (404)", do: "personal"},
		{name: "500", err: unavailable(500, errors.New("answered 500")), what: "answered 500", do: "wildcard"},
		{name: "429", err: unavailable(429, errors.New("answered 429")), what: "answered 429", do: "limit"},
		{name: "502", err: unavailable(502, errors.New("answered 502")), what: "answered 502", do: "restarting"},
		{name: "a login page", err: unavailable(200, errors.New("media type is text/html")), what: "media type", do: "instead of GitLab"},
		{name: "a proxy's 403", err: unavailable(403, errors.New("not GitLab's own refusal")), what: "refusal", do: "instead of GitLab"},
		{name: "an unknown CA", err: unavailable(0, x509.UnknownAuthorityError{}), what: "unknown authority", do: "CI_SERVER_TLS_CA_FILE"},
		{name: "another name", err: unavailable(0, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}), what: "h",
			do: "not for the name"},
		{name: "no name", err: unavailable(0, &net.DNSError{Err: "no such host", Name: "gitlab"}), what: "no such host", do: "DNS"},
		{name: "no listener", err: unavailable(0, errors.New("connection refused")), what: "connection refused", do: "cannot reach it"},
		{name: "anything", err: errors.New("anything"), what: "anything", do: "cannot reach it"},
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
