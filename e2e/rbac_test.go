package e2e_test

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

//go:embed testdata/rbac.yaml
var rbacManifest string

// ciJobViewManifest is the example of GitLab's page, as it stands there.
//
//go:embed testdata/ci-job-view.yaml
var ciJobViewManifest string

func TestRBAC_GrantsWhatItSaysAndNothingElse(t *testing.T) {
	apply(t, rbacManifest)
	prod := loggedIn(t, gitlabtest.Job{Environment: "prod"}, ciJobContext)
	staging := loggedIn(t, gitlabtest.Job{Environment: "staging"}, ciJobContext)
	bare := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	neighbour := loggedIn(t, gitlabtest.Job{Project: otherProject, Environment: "prod"}, ciJobContext)
	agent := loggedIn(t, gitlabtest.Job{}, serviceAccountContext)
	// The API server has read the last binding of the manifest once it is effective.
	eventually.Succeeds(t, func() error { return checkAllowed(t, agent, "get secrets -n web-prod") })

	// NAME becomes the job's own name for things.
	deploy := func(namespace string) string { return "create deployment NAME --image=web -n " + namespace }
	configure := func(namespace string) string { return "create configmap NAME --from-literal=a=b -n " + namespace }
	tests := []struct {
		name    string
		job     job
		command string
		allowed bool
	}{
		{"project_env: its environment's job deploys", prod, deploy("web-prod"), true},
		{"project_env: the same job in another namespace", prod, deploy("web-staging"), false},
		{"project_env: the same job, a resource it was not given", prod, "get replicasets -n web-prod", false},
		{"project_env: the project's other environment", staging, deploy("web-prod"), false},
		{"project_env: the project's job without environment", bare, deploy("web-prod"), false},
		{"project_env: another project's environment of that name", neighbour, deploy("web-prod"), false},
		{"group_env_tier: a production job of the group", prod, configure("web-shared"), true},
		{"group_env_tier: one of another project in the group", neighbour, configure("web-shared"), true},
		{"group_env_tier: a staging job of the group", staging, configure("web-shared"), false},
		{"group_env_tier: another namespace", neighbour, configure("web-prod"), false},
		{"ServiceAccount: the agent's rights", agent, "get secrets -n web-prod", true},
		{"ServiceAccount: not those of ci_job", agent, deploy("web-prod"), false},
		{"ServiceAccount: not for ci_job", prod, "get secrets -n web-prod", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			command := strings.ReplaceAll(test.command, "NAME", fmt.Sprintf("job-%d", test.job.ID))
			check := checkForbidden
			if test.allowed {
				check = checkAllowed
			}
			if err := check(t, test.job, command); err != nil {
				t.Error(err)
			}
		})
	}
}

// The page's ClusterRoleBinding gives every CI job the built-in role view, which the ClusterRole aggregation controller
// fills.
func TestRBAC_DocumentedClusterRoleBindingLetsEveryJobView(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{Project: otherProject}, ciJobContext)
	const view = "get deployments --all-namespaces"
	if err := checkForbidden(t, j, view); err != nil {
		t.Fatal(err)
	}
	apply(t, ciJobViewManifest)
	defer func() {
		succeed(t, admin(t), "delete", "clusterrolebinding", "ci-job-view")
		eventually.Succeeds(t, func() error { return checkForbidden(t, j, view) })
	}()
	eventually.Succeeds(t, func() error { return checkAllowed(t, j, view) })
	for _, test := range []struct{ name, command string }{
		{"writing", "create configmap a --from-literal=a=b -n default"},
		{"reading Secrets", "get secrets -n default"},
		{"reading RBAC", "get clusterroles"},
		{"impersonation", "get deployments -n default --as=deploy-bot"},
	} {
		t.Run("view does not include "+test.name, func(t *testing.T) {
			if err := checkForbidden(t, j, test.command); err != nil {
				t.Error(err)
			}
		})
	}
}

func checkAllowed(t *testing.T, j job, command string) error {
	t.Helper()
	if result := try(t, j.Workspace, strings.Fields(command)...); !result.OK() {
		return fmt.Errorf("kubectl %s should have been allowed: %s", command, result)
	}
	return nil
}

// checkForbidden fails unless the API server knows the user and RBAC refuses. kubectl words a refusal in several ways;
// this part is the API server's.
func checkForbidden(t *testing.T, j job, command string) error {
	t.Helper()
	result := try(t, j.Workspace, strings.Fields(command)...)
	if result.OK() || !strings.Contains(result.Stderr, ` is forbidden: User "`) {
		return fmt.Errorf("kubectl %s should have been forbidden: %s", command, result)
	}
	return nil
}
