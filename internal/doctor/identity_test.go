package doctor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	ended     = "jobgate: job 1001 of project 150 has ended; its token is no good any more"
	forbidden = `selfsubjectreviews.authentication.k8s.io is forbidden: User "gitlab:ci_job:1001" cannot create resource ` +
		`"selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`
	noWebhook = `Internal Server Error: "/apis/authentication.k8s.io/v1/selfsubjectreviews": Post "https://127.0.0.1:9443/authorize?timeout=3s": ` +
		`dial tcp 127.0.0.1:9443: connect: connection refused`
)

func answers(code int32, reason metav1.StatusReason, message string) func(*scene) {
	return func(s *scene) { s.api.status = refusal(code, reason, message) }
}

func is(change func(*authenticationv1.UserInfo)) func(*scene) {
	return func(s *scene) { change(&s.api.user) }
}

func TestRun_Identity(t *testing.T) {
	unauthorized := answers(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
	rows := []row{
		{"the expected one", func(*scene) {}, "identity", doctor.OK, []string{"user \"gitlab:ci_job:1001\"", "gitlab:project_env:150:prod"}, nil},
		{"nobody", is(func(u *authenticationv1.UserInfo) { u.Username, u.Extra = "system:anonymous", nil }), "identity", doctor.Failure,
			[]string{"has received no token"}, nil},
		{"somebody else", is(func(u *authenticationv1.UserInfo) { u.Username, u.Extra = "admin", nil }), "identity", doctor.Failure,
			[]string{`user "admin"`, "does not come from jobgate"}, nil},
		{"another job", is(func(u *authenticationv1.UserInfo) {
			u.Extra = map[string]authenticationv1.ExtraValue{"agent.gitlab.com/ci_job_id": {"7"}}
		}), "identity", doctor.Failure, []string{"this is another job"}, nil},
		{"a denied one", is(func(u *authenticationv1.UserInfo) {
			u.Extra["jobgate.io/denied"] = authenticationv1.ExtraValue{"for a reason"}
		}), "identity", doctor.Failure, []string{"refuses every request of this job: for a reason"}, nil},
		{"another user name", is(func(u *authenticationv1.UserInfo) { u.Username = "deploy-bot" }), "identity", doctor.Warning,
			[]string{`GitLab's answer gives user "gitlab:ci_job:1001"`}, nil},
		{"a group too few", is(func(u *authenticationv1.UserInfo) { u.Groups = u.Groups[1:] }), "identity", doctor.Warning,
			[]string{`gives these groups, too: "gitlab:ci_job"`}, nil},
		{"an agent's ServiceAccount", func(s *scene) {
			ofAgent(5)(s)
			s.options.Server, s.options.CA = s.api.URL, string(s.api.ca())
			s.api.user.Username = "system:serviceaccount:deploy:deployer"
		}, "identity", doctor.OK, []string{"deployer"}, nil},
		{"more groups than fit a line", is(func(u *authenticationv1.UserInfo) {
			for i := range 1000 {
				u.Groups = append(u.Groups, fmt.Sprintf("group-%d", i))
			}
		}), "identity", doctor.OK, []string{"and 995 more"}, nil},
		{"a user name that holds the token", func(s *scene) { s.api.user.Username = "user of " + s.token }, "identity", doctor.Warning,
			[]string{"user of [token]"}, nil},

		{"401", unauthorized, "identity", doctor.Failure, []string{
			"refuses the token (401), although GitLab lists agent 4", "is the agent one of this cluster's", "Token rejected",
		}, nil},
		{"401, as GitLab's", (*scene).endJob, "identity", doctor.Failure, []string{"refuses the token (401), as GitLab does", "see gitlab"}, nil},
		{"401, of an agent that is not listed", func(s *scene) {
			unauthorized(s)
			ofAgent(13)(s)
		}, "identity", doctor.Failure, []string{"(401): GitLab does not list agent 13 for this job", "see agent"}, nil},
		{"401, with GitLab limiting", func(s *scene) {
			unauthorized(s)
			s.gitlab.Fault(gitlabtest.RateLimited(60e9))
		}, "identity", doctor.Failure, []string{"(401); GitLab does not answer this job", "try again when GitLab answers"}, []string{"GitLab lists", "has ended"}},
		{"401, of an entry that jobgate cannot use", func(s *scene) {
			unauthorized(s)
			s.options.AgentID, s.options.Server, s.options.CA = 8, s.api.URL, string(s.api.ca())
		}, "identity", doctor.Failure, []string{"cannot use the agent's ci_access entry", "see access"}, nil},
		{"401, by the cluster's name", func(s *scene) {
			unauthorized(s)
			byCluster(s, "ci:prod:"+s.token)
		}, "identity", doctor.Failure, []string{"is this cluster's name prod", "grant"}, []string{"agent"}},
		{"403 of jobgate's", answers(http.StatusForbidden, metav1.StatusReasonForbidden, forbidden+": "+ended), "identity", doctor.Failure,
			[]string{"refused (403): " + ended, "docs/troubleshooting.md"}, []string{"cannot create resource"}},
		{"403 of RBAC's", answers(http.StatusForbidden, metav1.StatusReasonForbidden, forbidden), "identity", doctor.Failure,
			[]string{forbidden, "no Role or ClusterRole"}, nil},
		{"403 of nobody's", answers(http.StatusForbidden, metav1.StatusReasonForbidden,
			strings.Replace(forbidden, "gitlab:ci_job:1001", "system:anonymous", 1)), "identity", doctor.Failure, []string{"has received no token"}, nil},
		{"500 for want of jobgate", answers(http.StatusInternalServerError, metav1.StatusReasonInternalError, noWebhook), "identity", doctor.Failure,
			[]string{"cannot ask jobgate", "authorize.kubeconfig"}, nil},
		{"500", answers(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd"), "identity", doctor.Failure, []string{"etcd"}, []string{"jobgate"}},
		{"503", answers(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "starting"), "identity", doctor.Failure, []string{"starting"}, nil},
		{"404", answers(http.StatusNotFound, metav1.StatusReasonNotFound, "not found"), "identity", doctor.Failure, []string{"from Kubernetes 1.28 on"}, nil},
		{"a web page", func(s *scene) { s.api.page = "<html>log in, " + s.token + "</html>" }, "identity", doctor.Failure, []string{"is not an API server"}, nil},
		{"an endless page", func(s *scene) { s.api.page = strings.Repeat("a", 8<<20) }, "identity", doctor.Failure, nil, nil},
		{"a message that holds the token", func(s *scene) {
			// The line is cut within the token.
			answers(http.StatusForbidden, metav1.StatusReasonForbidden, strings.Repeat("a", 1163)+s.token)(s)
		}, "identity", doctor.Failure, nil, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// A redirect would carry the token to wherever it points.
func TestRun_FollowsNoRedirect(t *testing.T) {
	s, other := newScene(t), newAPIServer(t)
	s.api.redirect = other.URL
	if f := finding(t, s.run(), "identity"); f.State != doctor.Failure {
		t.Errorf("identity is %s: %s", f.State, text(f))
	}
	if len(other.seen) != 0 {
		t.Error("the redirect was followed")
	}
}

func TestRun_Rights(t *testing.T) {
	const restricted = `jobgate: restriction "production" does not let job 1001 of project 150 (agent 4) do this: its ref must be protected`
	deny := func(access map[string]string) func(*scene) { return func(s *scene) { s.api.access = access } }
	rows := []row{
		{"all", func(*scene) {}, "rights", doctor.OK, []string{`in namespace "web" the job may get pods`, "create deployments.apps"}, []string{"may not"}},
		{"some", deny(map[string]string{"get secrets": "", "create secrets": ""}), "rights", doctor.OK,
			[]string{"it may not get secrets, create secrets"}, nil},
		{"none", deny(map[string]string{"*": ""}), "rights", doctor.Warning, []string{"may do none of", "RoleBinding"}, nil},
		{"denied by a restriction", deny(map[string]string{"create deployments": restricted}), "rights", doctor.Warning,
			[]string{"create deployments.apps: " + restricted, "docs/troubleshooting.md"}, nil},
		{"in another namespace", func(s *scene) { s.options.Namespace = "shop" }, "rights", doctor.OK, []string{`in namespace "shop"`}, nil},
		{"that cannot be asked for", func(s *scene) {
			s.api.broken = refusal(http.StatusForbidden, metav1.StatusReasonForbidden, "forbidden: "+ended)
		}, "rights", doctor.Warning, []string{"it is unknown whether the job may get pods", ended}, nil},
		{"of nobody", (*scene).endJob, "rights", doctor.NotChecked, []string{"has not said who the job is"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}
