package e2e_test

import (
	"net/http"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// While GitLab cannot answer, a new job cannot log in. Once GitLab answers again, the same job can, without a restart. This
// API server remembers whatever it may for a day: had it remembered the failure, the job would never get in.
func TestOutage_JobLogsInOnceGitLabIsBack(t *testing.T) {
	server := lasting(t)
	tests := []struct {
		name  string
		fault gitlabtest.Fault
	}{
		{"503", gitlabtest.Fault{Status: http.StatusServiceUnavailable, Body: "<html>Deploy in progress</html>"}},
		{"429 with Retry-After", gitlabtest.Fault{
			Status: http.StatusTooManyRequests, ContentType: "text/plain", Body: "Retry later\n",
			Header: map[string]string{"Retry-After": "1"},
		}},
		{"200 with HTML", gitlabtest.Fault{Status: http.StatusOK, Body: "<html>Sign in</html>"}},
		{"401 with HTML, from something in between", gitlabtest.Fault{
			Status: http.StatusUnauthorized, Body: "<html>Proxy authentication</html>",
		}},
		{"truncated reply", gitlabtest.Fault{Truncate: true}},
		{"reset connections", gitlabtest.Fault{Reset: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.fault.Endpoint = gitlabtest.AnyEndpoint
			recoverNow := unwell(t, test.fault)
			j := loggedInTo(t, server, gitlabtest.Job{}, ciJobContext)
			wantUnauthorized(t, j.Workspace)
			recoverNow()
			eventually.Succeeds(t, func() error { return checkLoggedIn(t, j.Workspace) })
		})
	}
}

func TestRestart_RunningAndNextJobAreLoggedIn(t *testing.T) {
	before := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	whoami(t, before.Workspace)
	if err := site.Jobgate.Restart(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := whoami(t, before.Workspace).Username; got != before.username() {
		t.Errorf("the running job: username %s, want %s", got, before.username())
	}
	after := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	if got := whoami(t, after.Workspace).Username; got != after.username() {
		t.Errorf("the next job: username %s, want %s", got, after.username())
	}
}
