package e2e_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

// The webhook speaks both versions of TokenReview, and what it says reaches the audit log.
func TestVersions_IdentityReachesTheAuditLog(t *testing.T) {
	identities := []struct {
		name     string
		context  string
		agent    int64
		username func(job) string
	}{
		{"ci_job", ciJobContext, ciJobAgent, job.username},
		{"agent", bareContext, bareAgent, func(job) string { return "gitlab:agent:6" }},
	}
	for version, server := range versions(t) {
		for _, identity := range identities {
			t.Run(version+", "+identity.name, func(t *testing.T) {
				j := loggedInTo(t, server, gitlabtest.Job{Environment: "prod"}, identity.context)
				user := whoami(t, j.Workspace)
				want := authenticationv1.UserInfo{
					Username: identity.username(j), Groups: user.Groups, Extra: j.extras(identity.agent),
				}
				if diff := cmp.Diff(want, user); diff != "" {
					t.Errorf("kubectl auth whoami (-want +got):\n%s", diff)
				}
				eventually.Succeeds(t, func() error { return checkAudited(server, j, want) })
			})
		}
	}
}

// The webhook speaks both versions of SubjectAccessReview. The older one comes from an API server that asks about
// every user, and gets no opinion.
func TestVersions_JobAloneIsDenied(t *testing.T) {
	for version, server := range versions(t) {
		t.Run(version, func(t *testing.T) {
			j := presentingTo(t, server, requiringAgent, gitlabtest.Job{Environment: "staging"})
			outcome(`restriction "by tier" does not let`).of(t, j.Workspace, listConfigMaps("tier"))
			isAllowed.of(t, j.Workspace, listConfigMaps("shop"))
			isForbidden.of(t, j.Workspace, "get --raw /api/v1/namespaces/shop/secrets")
			ada := certified(t, server, "ada", "platform-admins")
			isAllowed.of(t, ada, "get --raw /api/v1/namespaces/shop/secrets")
		})
	}
}

// versions are API servers by the version of the reviews that they send.
func versions(t *testing.T) map[string]*controlplane.APIServer {
	t.Helper()
	legacy, err := startLegacy()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*controlplane.APIServer{"v1": site.API, "v1beta1": legacy}
}

var startLegacy = sync.OnceValues(func() (*controlplane.APIServer, error) {
	return site.Plane.StartAPIServer(context.Background(), site.Jobgate.LegacyAPIServer("kube-apiserver-v1beta1"))
})

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
