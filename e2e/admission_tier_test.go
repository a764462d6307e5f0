package e2e_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// What the policy says to a job of another tier, and to one without environment.
const (
	otherTier = `may not do this in namespace bound: its environment's tier must be "production", and the job is in one of ` +
		`tier "staging"; give the job an environment of that tier`
	noTier = `may not do this in namespace bound: its environment's tier must be "production", and the job has no environment; `
)

// There are no nodes: a request that admission lets through finds nothing to connect to.
const (
	noHost    = "pod web does not have a host assigned"
	noAddress = "address not allowed"
	noBackend = `services "web" not found`
)

func TestEnvironmentTier(t *testing.T) {
	defer withPolicies(t)()
	t.Run("binds namespaces", tierBindsNamespaces)
	t.Run("says what to do", tierSaysWhatToDo)
	t.Run("binds whatever jobs act as", tierBindsWhateverJobsActAs)
	t.Run("label is not for jobs", tierLabelIsNotForJobs)
	t.Run("leaves others alone", tierLeavesOthersAlone)
	t.Run("passes reviews", policiesPassReviews)
}

// Jobs write to the namespace from environments of its tier, and from nowhere else.
func tierBindsNamespaces(t *testing.T) {
	staging := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext).Workspace
	none := loggedIn(t, gitlabtest.Job{}, ciJobContext).Workspace
	production := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext).Workspace
	tests := []struct {
		name, command string
		allowed       string // what becomes of it in an environment of the tier; empty: it succeeds
	}{
		{"create", "create configmap a -n bound --dry-run=server", ""},
		{"update", "annotate configmap settings a=b -n bound --overwrite", ""},
		{"delete", "delete configmap settings -n bound --dry-run=server", ""},
		{"delete the collection", "delete --raw /api/v1/namespaces/bound/configmaps?dryRun=All", ""},
		{"scale", "scale deployment web -n bound --replicas=2", ""},
		{"status", "patch deployment web -n bound --subresource=status --type=merge -p {}", ""},
		{"exec", "exec web -n bound -- ls", noHost},
		{"attach", "attach web -n bound", noHost},
		{"port-forward", "create --raw /api/v1/namespaces/bound/pods/web/portforward?ports=80 -f /dev/null", noHost},
		{"proxy to a pod", "get --raw /api/v1/namespaces/bound/pods/web/proxy/", noAddress},
		{"proxy to a service", "get --raw /api/v1/namespaces/bound/services/web/proxy/", noBackend},
		{"token of a ServiceAccount", "create token default -n bound --duration=10m", ""},
		{"RoleBinding", "create rolebinding a --clusterrole=view --user=a -n bound --dry-run=server", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantAdmission(t, staging, test.command, otherTier)
			wantAdmission(t, none, test.command, noTier)
			wantAdmission(t, production, test.command, test.allowed)
		})
	}
	t.Run("elsewhere, and reading", func(t *testing.T) {
		for _, w := range []*kubectl.Workspace{staging, none, production} {
			wantAdmission(t, w, "create configmap a -n unbound --dry-run=server", "")
			wantAdmission(t, w, "exec web -n unbound -- ls", noHost)
			wantAdmission(t, w, "get configmaps,pods -n bound", "")
		}
	})
}

// The refusal is a whole sentence, as a job's log shows it.
func tierSaysWhatToDo(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext)
	const want = `configmaps "a" is forbidden: ValidatingAdmissionPolicy 'jobgate-environment-tier' with binding ` +
		`'jobgate-environment-tier' denied request: job JOB of project 150 may not do this in namespace bound: its ` +
		`environment's tier must be "production", and the job is in one of tier "staging"; give the job an environment of ` +
		`that tier (environment:deployment_tier in .gitlab-ci.yml), or deploy elsewhere`
	wantAdmission(t, j.Workspace, "create configmap a -n bound", naming(j, want))
}

// A job that acts as another user remains a job.
func tierBindsWhateverJobsActAs(t *testing.T) {
	for name, context := range map[string]string{
		"ServiceAccount": serviceAccountContext, "impersonate": impersonateContext,
	} {
		t.Run(name, func(t *testing.T) {
			staging := loggedIn(t, gitlabtest.Job{Environment: "staging"}, context)
			wantAdmission(t, staging.Workspace, "delete configmap settings -n bound --dry-run=server", otherTier)
			wantAdmission(t, staging.Workspace, "create configmap a -n unbound --dry-run=server", "")
			production := loggedIn(t, gitlabtest.Job{Environment: "prod"}, context)
			wantAdmission(t, production.Workspace, "delete configmap settings -n bound --dry-run=server", "")
		})
	}
}

// The label decides for jobs and is not theirs. A namespaceSelector would see the labels as a job wants them to be.
func tierLabelIsNotForJobs(t *testing.T) {
	const (
		label = "jobgate.io/environment-tier"
		given = `may not change the label jobgate.io/environment-tier of namespace unbound from "(none)" to "`
		kept  = `may not change the label jobgate.io/environment-tier of namespace bound from "production" to "`
	)
	staging := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext).Workspace
	production := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext).Workspace
	const foreign = `may not do this to namespace bound: its environment's tier must be "production", and the job is in one ` +
		`of tier "staging"`
	tests := []struct {
		name    string
		job     *kubectl.Workspace
		command string
		want    string
	}{
		{"taken away", staging, "label namespace bound " + label + "-", kept + `(none)": `},
		{"taken away by a job of the tier", production, "label namespace bound " + label + "-", kept + `(none)": `},
		{"changed to the job's own", staging, "label namespace bound --overwrite " + label + "=staging", kept + `staging": `},
		{"emptied", production, "label namespace bound --overwrite " + label + "=", kept + `": `},
		{"through status", production, "patch namespace bound --subresource=status --type=merge -p " +
			`{"metadata":{"labels":{"` + label + `":"staging"}}}`, kept + `staging": `},
		{"given to a namespace", production, "label namespace unbound " + label + "=production", given + `production": `},
		{"given empty", production, "label namespace unbound " + label + "=", given + `": `},
		{"another change", staging, "annotate namespace bound a=b", foreign},
		{"another change by a job of the tier", production, "annotate namespace bound a=b", ""},
		{"another change of a free namespace", staging, "annotate namespace unbound a=b", ""},
		{"deletion", staging, "delete namespace bound --dry-run=server", foreign},
		{"deletion by a job of the tier", production, "delete namespace bound --dry-run=server", ""},
		{"deletion of a free namespace", staging, "delete namespace unbound --dry-run=server", ""},
		{"a new namespace", staging, "create namespace fresh --dry-run=server", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantAdmission(t, test.job, test.command, test.want) })
	}
	t.Run("through finalize", func(t *testing.T) {
		script(t, production, `kubectl get namespace bound -o json | sed 's/"production"/"staging"/' |
			kubectl replace --raw /api/v1/namespaces/bound/finalize -f -`, kept+`staging": `)
	})
	// The manifests are marked as YAML: kubectl 1.32 takes what begins with a brace for JSON.
	t.Run("on a new namespace", func(t *testing.T) {
		script(t, production, `kubectl create -f - <<'EOF'
---
{apiVersion: v1, kind: Namespace, metadata: {name: own, labels: {jobgate.io/environment-tier: production}}}
EOF`, `of namespace own from "(none)" to "production": `)
	})
	t.Run("as it is", func(t *testing.T) {
		script(t, production, `kubectl apply --server-side --force-conflicts -f - <<'EOF'
---
{apiVersion: v1, kind: Namespace, metadata: {name: bound, labels: {jobgate.io/environment-tier: production, a: b}}}
EOF`, "")
	})
}

// A user who is not a CI job may do what RBAC allows, with extras (those of a client certificate) or without.
func tierLeavesOthersAlone(t *testing.T) {
	for name, user := range others(t) {
		t.Run(name, func(t *testing.T) {
			needs(t, user.needs)
			wantAdmission(t, user.Workspace, "create configmap a -n bound --dry-run=server"+user.as, "")
			wantAdmission(t, user.Workspace, "delete configmap settings -n bound --dry-run=server"+user.as, "")
			wantAdmission(t, user.Workspace, "exec web -n bound"+user.as+" -- ls", noHost)
		})
	}
	t.Run("administrator, and the label", func(t *testing.T) {
		wantAdmission(t, admin(t), "label namespace bound jobgate.io/environment-tier- --dry-run=server", "")
	})
}

// other is a user who is not a CI job.
type other struct {
	*kubectl.Workspace
	as    string // what to add to a command
	needs feature
}

func others(t *testing.T) map[string]other {
	t.Helper()
	extras := feature{since: "1.35", name: "kubectl --as-user-extra"}
	return map[string]other{
		"administrator":         {admin(t), "", feature{}},
		"ordinary user":         {certified(t, site.API, "ada"), "", feature{}},
		"user without extras":   {admin(t), " --as=ada", feature{}},
		"user with others":      {admin(t), " --as=ada --as-user-extra=example.com/team=web", extras},
		"another's environment": {admin(t), " --as=ada --as-user-extra=agent.gitlab.com/environment_tier=staging", extras},
	}
}
