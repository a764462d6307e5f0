package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// A user who does not come from GitLab must never depend on jobgate or GitLab.
func TestIndependence_OtherCredentialsKeepWorking(t *testing.T) {
	succeed(t, admin(t), "create", "serviceaccount", "independent", "-n", "default")
	defer func() { succeed(t, admin(t), "delete", "serviceaccount", "independent", "-n", "default") }()
	tests := []struct {
		name   string
		breaks func(*testing.T)
	}{
		{"while jobgate is stopped", stopJobgate},
		{"while GitLab hangs", func(t *testing.T) {
			unwell(t, gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Hang: true})
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var j job
			t.Run("a new job", func(t *testing.T) { j = loggedIn(t, gitlabtest.Job{}, ciJobContext) })
			t.Run("broken", func(t *testing.T) {
				test.breaks(t)
				checkIndependent(t)
				wantUnauthorized(t, j.Workspace)
			})
			eventually.Succeeds(t, func() error { return checkLoggedIn(t, j.Workspace) })
		})
	}
}

func stopJobgate(t *testing.T) {
	if err := site.Jobgate.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Jobgate.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

// checkIndependent uses a fresh ServiceAccount token, which no cache of the API server's can know, and a client
// certificate.
func checkIndependent(t *testing.T) {
	t.Helper()
	token := strings.TrimSpace(succeed(t, admin(t), "create", "token", "independent", "-n", "default"))
	site.GitLab.ResetCalls()
	for _, user := range []struct {
		workspace *kubectl.Workspace
		name      string
	}{
		{bearer(t, site.API, token), "system:serviceaccount:default:independent"},
		{admin(t), "e2e-admin"},
	} {
		if got := whoami(t, user.workspace).Username; got != user.name {
			t.Errorf("username %s, want %s", got, user.name)
		}
	}
	wantCalls(t, 0)
	if gitlabHeard(token) {
		t.Error("GitLab has seen the ServiceAccount's token")
	}
}
