package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

// kube-apiserver verifies ID tokens by itself, and jobgate judges each request and ends the job.
func TestStructuredAuthentication(t *testing.T) {
	g := grantsOnly(t)
	server := structured(t, g, false)
	t.Run("identities", func(t *testing.T) { structuredIdentities(t, g, server) })
	t.Run("refused tokens", func(t *testing.T) {
		wantForgedTokensRefused(t, apiClient(t), server, runJob(t, gitlabtest.Job{Environment: "prod", Pipeline: onMain}))
	})
	t.Run("requests", func(t *testing.T) { structuredRequests(t, server) })
	t.Run("a whole job", func(t *testing.T) { structuredJob(t, g, server) })
	t.Run("made-up extras", func(t *testing.T) { structuredMadeUpExtras(t, server) })
	t.Run("blocked", func(t *testing.T) { structuredBlocked(t, g, server) })
	t.Run("GitLab is away", func(t *testing.T) { structuredOutage(t, server) })
}

// What kube-apiserver makes of claims is what jobgate makes of them, less what the page says is lost.
func structuredIdentities(t *testing.T, g *grantInstallation, server *controlplane.APIServer) {
	g.both(t, askingForEveryFact)
	client := apiClient(t)
	j := runJob(t, gitlabtest.Job{Environment: "prod", Pipeline: onMain})
	for _, row := range []struct {
		name    string
		changes map[string]any
	}{
		{name: "a branch"},
		{name: "a branch that is not protected", changes: map[string]any{"ref_protected": "false"}},
		{name: "a tag", changes: map[string]any{"ref": "v1.0", "ref_type": "tag"}},
		{name: "a merge request of a protected branch", changes: map[string]any{"pipeline_source": "merge_request_event"}},
		{name: "a merge request's own ref", changes: map[string]any{"ref": "refs/merge-requests/1/head"}},
		{name: "a fork's merge request", changes: map[string]any{
			"project_id": "666", "pipeline_source": "merge_request_event", "user_access_level": "owner"}},
		{name: "a fork that hides it", changes: map[string]any{"project_id": "666", "user_access_level": "owner"}},
		{name: "an owner", changes: map[string]any{"user_access_level": "owner"}},
		{name: "a guest", changes: map[string]any{"user_access_level": "guest"}},
		{name: "no role", changes: map[string]any{"user_access_level": nil}},
		{name: "no claim about the role", changes: map[string]any{"user_access_level": leftOut}},
		{name: "no environment", changes: map[string]any{
			"environment": leftOut, "environment_protected": leftOut, "deployment_tier": leftOut, "environment_action": leftOut}},
		{name: "a protected environment", changes: map[string]any{"environment_protected": "true"}},
		{name: "an environment with a slash", changes: map[string]any{"environment": "eu/prod"}},
		{name: "an environment in capitals", changes: map[string]any{"environment": "Prod"}},
		{name: "an environment with the slug of another", changes: map[string]any{"environment": "prod-"}},
		{name: "an environment with two dashes", changes: map[string]any{"environment": "eu--prod"}},
		{name: "an environment that begins with a digit", changes: map[string]any{"environment": "1prod"}},
		{name: "an environment of two lines", changes: map[string]any{"environment": "prod\nprod"}},
		{name: "an environment that ends its line", changes: map[string]any{"environment": "prod\n"}},
		{name: "an environment that would forge a group", changes: map[string]any{"environment": "prod:production"}},
		{name: "an environment as long as a slug", changes: map[string]any{"environment": strings.Repeat("a", 24)}},
		{name: "an environment longer than a slug", changes: map[string]any{"environment": strings.Repeat("a", 25)}},
		{name: "a user that would forge a group", changes: map[string]any{"user_login": "system:masters"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			token := signed(t, gitlabtest.CIKey, j, row.changes)
			want, status := identityOf(t, client, g.API, token)
			if status != http.StatusCreated {
				t.Fatalf("through jobgate: status %d", status)
			}
			got, status := identityOf(t, client, server, token)
			if status != http.StatusCreated {
				t.Fatalf("by itself: status %d", status)
			}
			if diff := cmp.Diff(withoutWhatIsLost(want), got); diff != "" {
				t.Errorf("the identity by jobgate, less what is lost (-), and by kube-apiserver (+):\n%s", diff)
			}
		})
	}
}

// askingForEveryFact makes jobgate put all that it knows into extras.
func askingForEveryFact(c *config.Configuration) {
	c.ExtraFacts = []string{"ref", "commit", "job-url", "pipeline-source"}
	c.Blocked.Users = []int64{1}
	c.Restrictions = []policy.Restriction{{Name: "asks", Mode: policy.Report, Verbs: []string{"none"}, Require: policy.Requirements{
		Environments: []string{"x"}, EnvironmentProtected: true, ProtectedRef: true, Refs: []string{"x"}, RefTypes: []string{"tag"},
		PipelineSources: []string{"push"}, Roles: []string{"owner"},
	}}}
}

// withoutWhatIsLost is what docs/structured-authentication.md says that kube-apiserver cannot make of claims.
func withoutWhatIsLost(u authenticationv1.UserInfo) authenticationv1.UserInfo {
	delete(u.Extra, "jobgate.io/grant")
	delete(u.Extra, "jobgate.io/group")
	if slug := u.Extra["agent.gitlab.com/environment_slug"]; !slices.Equal(slug, u.Extra["jobgate.io/environment"]) {
		delete(u.Extra, "agent.gitlab.com/environment_slug")
		u.Groups = slices.DeleteFunc(u.Groups, func(g string) bool { return strings.HasPrefix(g, "gitlab:project_env:") })
	}
	u.Groups = slices.DeleteFunc(u.Groups, func(g string) bool {
		return strings.HasPrefix(g, "gitlab:group:") || strings.HasPrefix(g, "gitlab:group_env_tier:")
	})
	maps.DeleteFunc(u.Extra, func(_ string, values authenticationv1.ExtraValue) bool { return len(values) == 0 })
	return u
}

// Grants are judged on each request, and what the author of a job can choose gets around none.
func structuredRequests(t *testing.T, server *controlplane.APIServer) {
	for _, row := range []struct {
		name    string
		job     gitlabtest.Job
		changes map[string]any
		want    outcome
	}{
		{name: "production from a tag", job: released(), want: isAllowed},
		{name: "staging from main", job: staged(), want: isAllowed},
		{name: "production from main", want: `grant "production": it must run for one of "tag", and the job runs for a branch`,
			job: gitlabtest.Job{Project: shopProject, Environment: "production", Pipeline: onMain}},
		{name: "a tier that the job claims", job: staged(), want: `grant "production": it must run for one of "tag"`,
			changes: map[string]any{"deployment_tier": "production"}},
		{name: "a merge request of a branch that is called main", job: staged(), want: "a merge request's pipeline, which matches none",
			changes: map[string]any{"pipeline_source": "merge_request_event"}},
		{name: "a fork's branch main", job: staged(), want: "a merge request's pipeline, which matches none",
			changes: map[string]any{"project_id": "666"}},
		{name: "a fork's protected tag", job: released(), want: `grant "production": `,
			changes: map[string]any{"project_id": "666", "pipeline_source": "merge_request_event"}},
		{name: "a project that the access token may not read", want: "GitLab has not confirmed yet that job",
			job: gitlabtest.Job{Project: projectOne, Environment: "production", Pipeline: onTag}},
		{name: "another job's id", job: staged(), want: "has ended, and its token is no longer valid",
			changes: map[string]any{"job_id": "999999"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			j := runJob(t, row.job)
			row.want.of(t, bearer(t, server, signed(t, gitlabtest.CIKey, j, row.changes)), probe)
		})
	}
}

// The same kubeconfig as elsewhere: the job deploys, and is refused when it has ended, although its token is still valid.
func structuredJob(t *testing.T, g *grantInstallation, server *controlplane.APIServer) {
	j := g.shell(t, staged())
	script := "export PROD_TOKEN=" + idToken(t, j) + "\njobgate kubeconfig --cluster=" + grantCluster + " --server=" + server.URL +
		` --ca="$JOBGATE_CA_FILE" --id-token-variable=PROD_TOKEN` + "\nkubectl get configmaps -n shop"
	if result := j.shell(t, script); !result.OK() {
		t.Fatalf("the job could not read: %s", result)
	}
	j.end(t)
	ended(j).soon(t, j.Workspace, probe) // a 403: kube-apiserver itself still takes the token
}

// The admin of one namespace asks what a job may do, with the id of another's job and a project of their own. That ends no job.
func structuredMadeUpExtras(t *testing.T, server *controlplane.APIServer) {
	apply(t, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"tenant","namespace":"shop"},`+
		`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:aggregate-to-admin"},`+
		`"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"tenant"}]}`)
	j := runJob(t, staged())
	review := fmt.Sprintf(`{"apiVersion":"authorization.k8s.io/v1","kind":"LocalSubjectAccessReview","metadata":{"namespace":"shop"},`+
		`"spec":{"user":"made-up","resourceAttributes":{"namespace":"shop","verb":"get","resource":"pods"},"extra":{`+
		`"agent.gitlab.com/ci_job_id":["%d"],"agent.gitlab.com/project_id":["%d"],"jobgate.io/cluster":[%q]}}}`, j.ID, project, grantCluster)
	result, err := certified(t, server, "tenant").Script(t.Context(), "kubectl create --validate=false -f - -o jsonpath='{.status.reason}' <<'EOF'\n"+review+"\nEOF")
	if err != nil || !strings.Contains(result.Stdout, "has ended") {
		t.Fatalf("the review is not answered with GitLab's no: %s, %v", result, err)
	}
	isAllowed.of(t, bearer(t, server, idToken(t, j)), probe)
}

// The cluster's admin ends a job while kube-apiserver would still take its token.
func structuredBlocked(t *testing.T, g *grantInstallation, server *controlplane.APIServer) {
	j := runJob(t, staged())
	w := bearer(t, server, idToken(t, j))
	isAllowed.of(t, w, probe)
	g.both(t, func(c *config.Configuration) { c.Blocked.Users = []int64{developer} })
	outcome("the user of the job is blocked in this cluster (blocked.users: 9)").soon(t, w, probe)
	g.both(t, func(c *config.Configuration) { c.Blocked.Users, c.Grants = nil, c.Grants[:1] })
	outcome(`of grant "production": `).soon(t, w, probe)
	g.both(t, func(c *config.Configuration) { c.Grants[0].Projects = []int64{project} })
	outcome("no grant of the cluster prod names its project or a group of it").soon(t, w, probe)
}

// No one has seen the job run: it waits until GitLab says so.
func structuredOutage(t *testing.T, server *controlplane.APIServer) {
	j := runJob(t, staged())
	w := bearer(t, server, idToken(t, j))
	recoverNow := unwell(t, gitlabIsDown)
	outcome("GitLab has not confirmed yet that job").of(t, w, probe)
	recoverNow()
	isAllowed.soon(t, w, probe)
}
