package e2e_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// The webhook speaks both versions of TokenReview, and what it says reaches the audit log.
func TestVersions_IdentityReachesTheAuditLog(t *testing.T) {
	servers := []struct {
		version string
		server  *controlplane.APIServer
	}{
		{"v1", site.API},
		{"v1beta1", startAPIServer(t, controlplane.APIServerOptions{
			Name: "kube-apiserver-v1beta1", TokenWebhook: site.Jobgate.TokenWebhook("v1beta1", sandbox.WebhookCacheTTL),
		})},
	}
	identities := []struct {
		name     string
		context  string
		agent    int64
		username func(job) string
	}{
		{"ci_job", ciJobContext, ciJobAgent, job.username},
		{"agent", bareContext, bareAgent, func(job) string { return "gitlab:agent:6" }},
	}
	for _, server := range servers {
		for _, identity := range identities {
			t.Run(server.version+", "+identity.name, func(t *testing.T) {
				j := loggedInTo(t, server.server, gitlabtest.Job{Environment: "prod"}, identity.context)
				user := whoami(t, j.Workspace)
				want := authenticationv1.UserInfo{
					Username: identity.username(j), Groups: user.Groups, Extra: j.extras(identity.agent),
				}
				if diff := cmp.Diff(want, user); diff != "" {
					t.Errorf("kubectl auth whoami (-want +got):\n%s", diff)
				}
				eventually(t, func() error { return checkAudited(server.server, j, want) })
			})
		}
	}
}

func startAPIServer(t *testing.T, options controlplane.APIServerOptions) *controlplane.APIServer {
	t.Helper()
	server, err := site.Plane.StartAPIServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// checkAudited fails unless an event names the job in its extras and carries the whole user.
func checkAudited(server *controlplane.APIServer, j job, want authenticationv1.UserInfo) error {
	const jobKey = "agent.gitlab.com/ci_job_id"
	events, err := server.AuditEvents(func(e *auditv1.Event) bool {
		return e.User.Extra != nil && cmp.Equal(e.User.Extra[jobKey], want.Extra[jobKey])
	})
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("no audit event of job %d yet", j.ID)
	}
	if diff := cmp.Diff(want, events[0].User); diff != "" {
		return fmt.Errorf("the user in the audit log (-want +got):\n%s", diff)
	}
	return nil
}
