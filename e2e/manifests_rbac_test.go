package e2e_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// withShipped applies a shipped file as it is and returns what takes its objects away, once the API server knows.
func withShipped(t *testing.T, file string, witness job, effect string) (remove func()) {
	t.Helper()
	if err := checkForbidden(t, witness, effect); err != nil {
		t.Fatal(err)
	}
	succeed(t, admin(t), "apply", "--validate=strict", "-f", shipped(t, "rbac", file))
	eventually.Succeeds(t, func() error { return checkAllowed(t, witness, effect) })
	return func() {
		t.Helper()
		succeed(t, admin(t), "delete", "-f", shipped(t, "rbac", file))
		eventually.Succeeds(t, func() error { return checkForbidden(t, witness, effect) })
	}
}

// wantForbidden fails unless RBAC refuses.
func wantForbidden(t *testing.T, j job, command string) {
	t.Helper()
	if err := checkForbidden(t, j, command); err != nil {
		t.Error(err)
	}
}

const deployToShop = "create deployment a --image=a -n shop --dry-run=server"

// The file is what GitLab's page has, and a comment.
func TestManifestsRBAC_CIJobView(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "rbac", "ci-job-view.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	uncommented := regexp.MustCompile(`(?m)^ *#.*\n`).ReplaceAllString(string(text), "")
	if diff := cmp.Diff(ciJobViewManifest, uncommented); diff != "" {
		t.Errorf("the page's example (-) and the shipped file (+):\n%s", diff)
	}
	const view = "get deployments --all-namespaces"
	j := loggedIn(t, gitlabtest.Job{Project: otherProject}, ciJobContext)
	defer withShipped(t, "ci-job-view.yaml", j, view)()
	wantForbidden(t, j, "get secrets -n default")
	agent := loggedIn(t, gitlabtest.Job{}, bareContext)
	wantForbidden(t, agent, view)
}

func TestManifestsRBAC_DeployFromProd(t *testing.T) {
	prod := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	defer withShipped(t, "deploy-from-prod.yaml", prod, deployToShop)()
	wantForbidden(t, prod, strings.ReplaceAll(deployToShop, "shop", "default"))
	for name, j := range map[string]gitlabtest.Job{
		"another environment": {Environment: "staging"},
		"no environment":      {},
		"another project":     {Project: otherProject, Environment: "prod"},
	} {
		t.Run(name, func(t *testing.T) {
			wantForbidden(t, loggedIn(t, j, ciJobContext), deployToShop)
		})
	}
}

func TestManifestsRBAC_DeployByGroupTier(t *testing.T) {
	prod := loggedIn(t, gitlabtest.Job{Project: otherProject, Environment: "prod"}, ciJobContext)
	defer withShipped(t, "deploy-by-group-tier.yaml", prod, deployToShop)()
	isAllowed.of(t, loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext).Workspace, deployToShop)
	wantForbidden(t, loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext), deployToShop)
	for name, command := range map[string]string{
		"Secrets":                   "get secrets -n shop",
		"a ServiceAccount's token":  "create token default -n shop",
		"another namespace":         strings.ReplaceAll(deployToShop, "shop", "default"),
		"all namespaces":            "get configmaps --all-namespaces",
		"more rights":               "create rolebinding a --clusterrole=admin --user=a -n shop --dry-run=server",
		"the policies of admission": "get validatingadmissionpolicies",
	} {
		t.Run("without "+name, func(t *testing.T) { wantForbidden(t, prod, command) })
	}
	for name, right := range map[string]string{"exec": "create pods/exec", "impersonation": "impersonate serviceaccounts"} {
		t.Run("without "+name, func(t *testing.T) {
			if answer := try(t, prod.Workspace, strings.Fields("auth can-i -n shop "+right)...).Stdout; answer != "no\n" {
				t.Errorf("kubectl auth can-i %s: %s", right, answer)
			}
		})
	}
}

// RBAC grants it to every job of the project, and the restriction beside it denies it to those on other refs.
func TestManifestsRBAC_DeployFromProtectedRefs(t *testing.T) {
	const deploy = "create deployment a --image=a -n payments --dry-run=server"
	apply(t, `{apiVersion: v1, kind: Namespace, metadata: {name: payments}}`)
	defer withBranches(t)()
	withFragment(t, "protected-refs.yaml")
	main := loggedIn(t, gitlabtest.Job{Pipeline: onMain}, ciJobContext)
	defer withShipped(t, "deploy-from-protected-refs.yaml", main, deploy)()

	feature := loggedIn(t, gitlabtest.Job{Pipeline: onFeature}, ciJobContext)
	const denied outcome = `restriction "payments from protected refs" does not let`
	denied.of(t, feature.Workspace, "get --raw /apis/apps/v1/namespaces/payments/deployments")
	isAllowed.of(t, main.Workspace, "get --raw /apis/apps/v1/namespaces/payments/deployments")
	result := try(t, feature.Workspace, strings.Fields(deploy)...)
	if result.OK() || !strings.Contains(result.Stderr, `ref "feature" is not protected`) {
		t.Errorf("kubectl %s: %s", deploy, result)
	}
	other := loggedIn(t, gitlabtest.Job{Project: otherProject, Pipeline: onMain}, ciJobContext)
	if result := try(t, other.Workspace, strings.Fields(deploy)...); result.OK() {
		t.Errorf("a job of another project may deploy: %s", result)
	}
}

// withBranches gives the project a protected branch and one that is not.
func withBranches(t *testing.T) (remove func()) {
	t.Helper()
	set := func(branches, protected []string) {
		updateGitLab(t, func(w *gitlabtest.Instance) {
			i := slices.IndexFunc(w.Projects, func(p gitlabtest.Project) bool { return p.ID == project })
			w.Projects[i].Branches, w.Projects[i].ProtectedBranches = branches, protected
		})
	}
	set([]string{"main", "feature"}, []string{"main"})
	return func() { set(nil, nil) }
}

// withFragment makes a shipped part of jobgate's configuration one of the running configuration, until the test ends.
func withFragment(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(shipped(t, "restrictions", file))
	if err != nil {
		t.Fatal(err)
	}
	const rest = `
apiVersion: jobgate.io/v1alpha1
kind: Configuration
gitlab: {url: "https://gitlab.example.com"}
agents: [{id: 4}]
serving: {certFile: a, keyFile: b}
`
	whole, err := config.Parse(file, append([]byte(rest), text...))
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Restrictions) == 0 {
		t.Fatalf("%s has no restrictions", file)
	}
	reconfigure(t, func(c *config.Configuration) { c.Restrictions = append(c.Restrictions, whole.Restrictions...) })
}
