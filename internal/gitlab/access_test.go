package gitlab_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

func TestStatus(t *testing.T) {
	rows := []struct {
		name      string
		change    func(*gitlabtest.Instance)
		job       int64
		access    string
		status    string
		rejection job.Rejection
	}{
		{name: "running", job: jobID, status: "running"},
		{name: "canceling", change: func(i *gitlabtest.Instance) { i.Job(jobID).Status = "canceling" }, job: jobID, status: "canceling"},
		{name: "ended", change: func(i *gitlabtest.Instance) { i.Job(jobID).Status = "failed" }, job: jobID, status: "failed"},
		{name: "no such job", job: 5, rejection: job.NotRunning},
		{name: "project gone", change: func(i *gitlabtest.Instance) { i.Project(150).PendingDelete = true }, job: jobID},
		{name: "access token may not see the project", change: func(i *gitlabtest.Instance) { delete(i.User(10).Access, 150) }, job: jobID},
		{name: "access token of a guest, private pipelines", change: func(i *gitlabtest.Instance) {
			i.User(10).Access[150], i.Project(150).PrivatePipelines = 10, true
		}, job: jobID},
		{name: "access token of too small a scope", access: "glpat-registry", job: jobID},
		{name: "expired access token", access: "glpat-expired", job: jobID},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, _ := start(t, row.change)
			c := newClient(t, s.URL(), func(o *gitlab.Options) {
				withAccess(o)
				if row.access != "" {
					o.AccessToken = row.access
				}
			})
			status, err := c.Status(t.Context(), 150, row.job, job.Refreshes)
			switch {
			case status != row.status || rejection(err) != row.rejection:
				t.Errorf("status is %q, %v; want %q, or rejected as %q", status, err, row.status, row.rejection)
			case row.status == "" && row.rejection == "" && !isUnavailable(err):
				t.Errorf("error is %v; what concerns the access token must be trouble", err)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

// The documentation writes it with a capital, ActiveRecord's own words have none.
func TestStatus_BothSpellingsOfNotFound(t *testing.T) {
	for _, message := range []string{"404 Not Found", "404 Not found"} {
		s, _ := start(t, nil)
		s.Fault(gitlabtest.Fault{
			Endpoint: gitlabtest.ProjectJob, Status: 404, ContentType: jsonType, Body: fmt.Sprintf(`{"message":%q}`, message),
		})
		_, err := newClient(t, s.URL(), withAccess).Status(t.Context(), 150, jobID, job.Refreshes)
		if rejection(err) != job.NotRunning {
			t.Errorf("%s: error is %v, want a rejection", message, err)
		}
	}
}

func TestStatus_UnusableAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"another job": `{"id":5,"status":"running"}`,
		"no id":       `{"status":"running"}`,
		"no status":   `{"id":9223372036854775807}`,
		"long status": `{"id":9223372036854775807,"status":"` + strings.Repeat("s", 65) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := start(t, nil)
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.ProjectJob, Body: body})
			if status, err := newClient(t, s.URL(), withAccess).Status(t.Context(), 150, jobID, job.Refreshes); !isUnavailable(err) {
				t.Errorf("status is %q, %v; want unavailable", status, err)
			}
		})
	}
}

func TestGroups_InTheReplysOrder(t *testing.T) {
	s, _ := start(t, nil)
	got, err := newClient(t, s.URL(), withAccess).Groups(t.Context(), 150, job.Logins)
	if diff := cmp.Diff([]int64{25, 23}, got); diff != "" || err != nil {
		t.Errorf("%v; groups (-want +got):\n%s", err, diff)
	}
}

func TestGroups_OfAPersonalProject(t *testing.T) {
	s, _ := start(t, func(i *gitlabtest.Instance) { i.Project(150).Group = 0 })
	if got, err := newClient(t, s.URL(), withAccess).Groups(t.Context(), 150, job.Logins); got == nil || len(got) != 0 || err != nil {
		t.Errorf("groups are %v, %v; want none", got, err)
	}
}

func TestGroups_AllPages(t *testing.T) {
	for _, row := range []struct {
		pages int
		ok    bool
	}{{1, true}, {5, true}, {6, false}} {
		t.Run(fmt.Sprint(row.pages), func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", jsonType)
				var page int
				_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
				if page < row.pages {
					w.Header().Set("X-Next-Page", fmt.Sprint(page+1))
				}
				fmt.Fprintf(w, `[{"id":%d,"name":"a"},{"id":%d}]`, 2*page, 2*page+1)
			}))
			defer s.Close()
			got, err := newClient(t, s.URL, withAccess).Groups(t.Context(), 150, job.Logins)
			if row.ok && (len(got) != 2*row.pages || got[0] != 2 || err != nil) || !row.ok && !isUnavailable(err) {
				t.Errorf("groups are %v, %v", got, err)
			}
		})
	}
}

func TestGroups_UnusableAnswers(t *testing.T) {
	for _, body := range []string{`[{"id":0}]`, `[{"id":-1}]`, `[{}]`, `[{"id":"5"}]`, `null`, `{}`} {
		s, _ := start(t, nil)
		s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.ProjectGroups, Body: body})
		if got, err := newClient(t, s.URL(), withAccess).Groups(t.Context(), 150, job.Logins); !isUnavailable(err) {
			t.Errorf("%s: groups are %v, %v; want unavailable", body, got, err)
		}
	}
}

func TestKeys_AreAskedForPastCaches(t *testing.T) {
	s, _ := start(t, nil)
	keys, err := newClient(t, s.URL(), withAccess).Keys(t.Context())
	if err != nil || !strings.Contains(string(keys), `"kid"`) {
		t.Fatalf("keys are %.100s, %v", keys, err)
	}
	seen := s.Requests(gitlabtest.KeySet)
	if len(seen) != 1 || http.Header(seen[0].Header).Get("Cache-Control") != "no-cache" {
		t.Errorf("%d requests, want one with Cache-Control: no-cache", len(seen))
	}
}

func TestKeys_AreBounded(t *testing.T) {
	s, _ := start(t, nil)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.KeySet, Oversize: 1<<20 + 1})
	if keys, err := newClient(t, s.URL(), nil).Keys(t.Context()); !isUnavailable(err) || keys != nil {
		t.Errorf("%d bytes of keys, %v; want unavailable", len(keys), err)
	}
}

func TestEnvironmentProtected(t *testing.T) {
	rows := []struct {
		name        string
		environment string
		want        bool
	}{
		{"protected", "prod", true},
		{"not protected", "staging", false},
		{"with a slash", "review/prod", true},
		{"its slug alone", "review", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, _ := start(t, func(i *gitlabtest.Instance) {
				i.Project(150).ProtectedEnvironments = []string{"prod", "review/prod"}
			})
			c := newClient(t, s.URL(), withAccess)
			for range 2 { // the project's jobs share the answer
				if got, err := c.EnvironmentProtected(t.Context(), named(row.environment)); err != nil || got != row.want {
					t.Errorf("protected: %t, %v; want %t", got, err, row.want)
				}
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestEnvironmentProtected_NameIsNotKnown(t *testing.T) {
	s, _ := start(t, nil)
	if got, err := newClient(t, s.URL(), withAccess).EnvironmentProtected(t.Context(), identified()); got || unlearnable(err) == "" {
		t.Errorf("protected: %t, %v; want unlearnable", got, err)
	}
}

func TestEnvironmentProtected_AnswerAboutAnother(t *testing.T) {
	s, _ := start(t, nil)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.ProtectedEnvironment, Body: `{"name":"Prod"}`})
	if got, err := newClient(t, s.URL(), withAccess).EnvironmentProtected(t.Context(), named("prod")); got || !isUnavailable(err) {
		t.Errorf("protected: %t, %v; want unavailable", got, err)
	}
}
