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
	ended     = "jobgate: job 1001 of project 150 has ended"
	forbidden = `selfsubjectreviews.authentication.k8s.io is forbidden: User "gitlab:ci_job:1001" cannot create resource ` +
		`"selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`
	noWebhook = `Internal Server Error: "/apis/authentication.k8s.io/v1/selfsubjectreviews": Post "https://127.0.0.1:9443/authorize?timeout=3s": ` +
		`dial tcp 127.0.0.1:9443: connect: connection refused`
)

func answers(code int32, reason metav1.StatusReason, message string) func(*setup) {
	return func(s *setup) { s.api.status = refusal(code, reason, message) }
}

func is(change func(*authenticationv1.UserInfo)) func(*setup) {
	return func(s *setup) { change(&s.api.user) }
}

func TestRun_Identity(t *testing.T) {
	unauthorized := answers(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
	rows := []row{
		{name: "the expected one", finding: "identity", state: doctor.OK,
			say: []string{"user \"gitlab:ci_job:1001\"", "gitlab:project_env:150:prod"}},
		{name: "anonymous", arrange: is(func(u *authenticationv1.UserInfo) { u.Username, u.Extra = "system:anonymous", nil }),
			finding: "identity", state: doctor.Failure,
			say: []string{"has received no token"}},
		{name: "another user", arrange: is(func(u *authenticationv1.UserInfo) { u.Username, u.Extra = "admin", nil }),
			finding: "identity", state: doctor.Failure,
			say: []string{`user "admin"`, "does not come from jobgate"}},
		{name: "another job", arrange: is(func(u *authenticationv1.UserInfo) {
			u.Extra = map[string]authenticationv1.ExtraValue{"agent.gitlab.com/ci_job_id": {"7"}}
		}), finding: "identity", state: doctor.Failure, say: []string{"this is another job"}},
		{name: "a denied one", arrange: is(func(u *authenticationv1.UserInfo) {
			u.Extra["jobgate.io/denied"] = authenticationv1.ExtraValue{"for a reason"}
		}), finding: "identity", state: doctor.Failure, say: []string{"refuses every request of this job: for a reason"}},
		{name: "another user name", arrange: is(func(u *authenticationv1.UserInfo) { u.Username = "deploy-bot" }),
			finding: "identity", state: doctor.Warning,
			say: []string{`GitLab's answer gives user "gitlab:ci_job:1001"`}},
		{name: "a group too few", arrange: is(func(u *authenticationv1.UserInfo) { u.Groups = u.Groups[1:] }),
			finding: "identity", state: doctor.Warning,
			say: []string{`gives these groups, too: "gitlab:ci_job"`}},
		{name: "an agent's ServiceAccount", arrange: func(s *setup) {
			ofAgent(5)(s)
			s.options.Server, s.options.CA = s.api.URL, string(s.api.ca())
			s.api.user.Username = "system:serviceaccount:deploy:deployer"
		}, finding: "identity", state: doctor.OK, say: []string{"deployer"}},
		{name: "more groups than fit a line", arrange: is(func(u *authenticationv1.UserInfo) {
			for i := range 1000 {
				u.Groups = append(u.Groups, fmt.Sprintf("group-%d", i))
			}
		}), finding: "identity", state: doctor.OK, say: []string{"and 995 more"}},
		{name: "a user name that holds the token", arrange: func(s *setup) { s.api.user.Username = "user of " + s.token },
			finding: "identity", state: doctor.Warning,
			say: []string{"user of [token]"}},

		{name: "401", arrange: unauthorized, finding: "identity", state: doctor.Failure, say: []string{
			"refuses the token (401), although GitLab lists agent 4", "is the agent one of this cluster's", "Token rejected",
		}},
		{name: "401, as GitLab's", arrange: (*setup).endJob, finding: "identity", state: doctor.Failure,
			say: []string{"refuses the token (401), as GitLab does", "see gitlab"}},
		{name: "401, of an agent that is not listed", arrange: func(s *setup) {
			unauthorized(s)
			ofAgent(13)(s)
		}, finding: "identity", state: doctor.Failure, say: []string{"(401): GitLab does not list agent 13 for this job", "see agent"}},
		{name: "401, with GitLab limiting", arrange: func(s *setup) {
			unauthorized(s)
			s.gitlab.Fault(gitlabtest.RateLimited(60e9))
		}, finding: "identity", state: doctor.Failure, say: []string{"(401); GitLab does not answer this job", "try again when GitLab answers"}, not: []string{"GitLab lists", "has ended"}},
		{name: "401, of an entry that jobgate cannot use", arrange: func(s *setup) {
			unauthorized(s)
			s.options.AgentID, s.options.Server, s.options.CA = 8, s.api.URL, string(s.api.ca())
		}, finding: "identity", state: doctor.Failure, say: []string{"cannot use the agent's ci_access entry", "see access"}},
		{name: "401, by the cluster's name", arrange: func(s *setup) {
			unauthorized(s)
			byCluster(s, "ci:prod:"+s.token)
		}, finding: "identity", state: doctor.Failure, say: []string{"is this cluster's name prod", "grant"}, not: []string{"agent"}},
		{name: "401, of an ID token", arrange: func(s *setup) {
			unauthorized(s)
			byIDToken(nil)(s)
		}, finding: "identity", state: doctor.Failure, say: []string{"is this cluster's name prod, and idTokens.audience the token's", "grant"}, not: []string{"agent"}},
		{name: "403 of jobgate's", arrange: answers(http.StatusForbidden, metav1.StatusReasonForbidden, forbidden+": "+ended),
			finding: "identity", state: doctor.Failure,
			say: []string{"refused (403): " + ended, "docs/troubleshooting.md"}, not: []string{"cannot create resource"}},
		{name: "403 of RBAC's", arrange: answers(http.StatusForbidden, metav1.StatusReasonForbidden, forbidden),
			finding: "identity", state: doctor.Failure,
			say: []string{forbidden, "no Role or ClusterRole"}},
		{name: "403, anonymous", arrange: answers(http.StatusForbidden, metav1.StatusReasonForbidden,
			strings.Replace(forbidden, "gitlab:ci_job:1001", "system:anonymous", 1)), finding: "identity", state: doctor.Failure, say: []string{"has received no token"}},
		{name: "500 for want of jobgate", arrange: answers(http.StatusInternalServerError, metav1.StatusReasonInternalError, noWebhook),
			finding: "identity", state: doctor.Failure,
			say: []string{"cannot ask jobgate", "authorize.kubeconfig"}},
		{name: "500", arrange: answers(http.StatusInternalServerError, metav1.StatusReasonInternalError, "etcd"),
			finding: "identity", state: doctor.Failure, say: []string{"etcd"}, not: []string{"jobgate"}},
		{name: "503", arrange: answers(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "starting"),
			finding: "identity", state: doctor.Failure, say: []string{"starting"}},
		{name: "404", arrange: answers(http.StatusNotFound, metav1.StatusReasonNotFound, "not found"),
			finding: "identity", state: doctor.Failure, say: []string{"from Kubernetes 1.28 on"}},
		{name: "a web page", arrange: func(s *setup) { s.api.page = "<html>log in, " + s.token + "</html>" },
			finding: "identity", state: doctor.Failure, say: []string{"is not an API server"}},
		{name: "an endless page", arrange: func(s *setup) { s.api.page = strings.Repeat("a", 8<<20) },
			finding: "identity", state: doctor.Failure},
		{name: "a message that holds the token", arrange: func(s *setup) {
			// The line is cut within the token.
			answers(http.StatusForbidden, metav1.StatusReasonForbidden, strings.Repeat("a", 1163)+s.token)(s)
		}, finding: "identity", state: doctor.Failure},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// A redirect would carry the token to wherever it points.
func TestRun_FollowsNoRedirect(t *testing.T) {
	s, other := newSetup(t), newAPIServer(t)
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
	deny := func(access map[string]string) func(*setup) { return func(s *setup) { s.api.access = access } }
	rows := []row{
		{name: "all", finding: "rights", state: doctor.OK,
			say: []string{`in namespace "web" the job may get pods`, "create deployments.apps"}, not: []string{"may not"}},
		{name: "some", arrange: deny(map[string]string{"get secrets": "", "create secrets": ""}), finding: "rights", state: doctor.OK,
			say: []string{"it may not get secrets, create secrets"}},
		{name: "none", arrange: deny(map[string]string{"*": ""}), finding: "rights", state: doctor.Warning,
			say: []string{"may do none of", "RoleBinding"}},
		{name: "denied by a restriction", arrange: deny(map[string]string{"create deployments": restricted}),
			finding: "rights", state: doctor.Warning,
			say: []string{"create deployments.apps: " + restricted, "docs/troubleshooting.md"}},
		{name: "denied by a restriction, several times", arrange: deny(map[string]string{"create deployments": restricted, "create secrets": restricted}),
			finding: "rights", state: doctor.Warning,
			say: []string{"create deployments.apps, create secrets: " + restricted}},
		{name: "in another namespace", arrange: func(s *setup) { s.options.Namespace = "shop" }, finding: "rights", state: doctor.OK,
			say: []string{`in namespace "shop"`}},
		{name: "that cannot be asked for", arrange: func(s *setup) {
			s.api.broken = refusal(http.StatusForbidden, metav1.StatusReasonForbidden, "forbidden: "+ended)
		}, finding: "rights", state: doctor.Warning, say: []string{"it is unknown whether the job may get pods", ended}},
		{name: "without an identity", arrange: (*setup).endJob, finding: "rights", state: doctor.NotChecked,
			say: []string{"has not said who the job is"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}
