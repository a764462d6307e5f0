package e2e_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// The group lists of the example on GitLab's page on impersonation, with what the API server adds to every user. GitLab
// lists a project's groups nearest first; the page's order follows where the nearer group is 23.
var (
	documentedGroups = []string{
		"gitlab:ci_job",
		"gitlab:group:23", "gitlab:group_env_tier:23:production",
		"gitlab:group:25", "gitlab:group_env_tier:25:production",
		"gitlab:project:150", "gitlab:project_env:150:prod", "gitlab:project_env_tier:150:production",
		"system:authenticated",
	}
	nestedGroups = []string{
		"gitlab:ci_job",
		"gitlab:group:25", "gitlab:group_env_tier:25:production",
		"gitlab:group:23", "gitlab:group_env_tier:23:production",
		"gitlab:project:150", "gitlab:project_env:150:prod", "gitlab:project_env_tier:150:production",
		"system:authenticated",
	}
)

func TestLogin_JobIsTheDocumentedIdentity(t *testing.T) {
	tests := []struct {
		name        string
		arrange     func(*testing.T)
		environment string
		groups      []string
	}{
		{"group 25 within group 23, as on the page", nil, "prod", nestedGroups},
		{"group 23 within group 25, for the page's order", swapGroups, "prod", documentedGroups},
		{"no environment", nil, "", []string{
			"gitlab:ci_job", "gitlab:group:25", "gitlab:group:23", "gitlab:project:150", "system:authenticated",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.arrange != nil {
				test.arrange(t)
			}
			j := loggedIn(t, gitlabtest.Job{Environment: test.environment}, ciJobContext)
			want := authenticationv1.UserInfo{Username: j.username(), Groups: test.groups, Extra: j.extras(ciJobAgent)}
			if diff := cmp.Diff(want, whoami(t, j.Workspace)); diff != "" {
				t.Errorf("kubectl auth whoami (-want +got):\n%s", diff)
			}
		})
	}
}

// swapGroups exchanges the ids of the two groups for the time of a test.
func swapGroups(t *testing.T) {
	exchange := func(w *gitlabtest.Instance) {
		swap := func(id *int64) {
			switch *id {
			case outerGroup:
				*id = innerGroup
			case innerGroup:
				*id = outerGroup
			}
		}
		for i := range w.Groups {
			swap(&w.Groups[i].ID)
			swap(&w.Groups[i].Parent)
		}
		for i := range w.Projects {
			swap(&w.Projects[i].Group)
		}
	}
	updateGitLab(t, exchange)
	t.Cleanup(func() { updateGitLab(t, exchange) })
}

// heredoc writes the kubeconfig of GitLab's page on the CI/CD tunnel, but for the server.
const heredoc = `
cat << EOF > "$KUBE_CFG_FILE"
apiVersion: v1
kind: Config
clusters:
- name: agent
  cluster:
    server: $API_SERVER
users:
- name: agent
  user:
    token: "ci:$AGENT_ID:$CI_JOB_TOKEN"
contexts:
- name: agent
  context:
    cluster: agent
    user: agent
current-context: agent
EOF
`

// setCredentials are the commands on GitLab's page for jobs with both kinds of connection; K8S_PROXY_URL was the
// tunnel's.
const setCredentials = `
kubectl config set-credentials agent:$AGENT_ID --token="ci:${AGENT_ID}:${CI_JOB_TOKEN}"
kubectl config set-cluster gitlab --server="${K8S_PROXY_URL}"
kubectl config set-context "$KUBE_CONTEXT" --cluster=gitlab --user="agent:${AGENT_ID}"
kubectl config use-context "$KUBE_CONTEXT"
`

// Every way that GitLab's pages show to come by a kubeconfig, with the server replaced and its authority made known.
func TestLogin_EveryDocumentedKubeconfigWorks(t *testing.T) {
	tests := []struct {
		name   string
		script string
	}{
		{"the one GitLab injects", `
			kubectl config set-cluster gitlab --server="$API_SERVER" --certificate-authority="$API_SERVER_CA"
			kubectl config use-context path/to/agent/project:agent-name
			kubectl auth whoami`},
		{"the one GitLab injects, authority in SSL_CERT_FILE", `
			export SSL_CERT_FILE="$API_SERVER_CA"
			kubectl config set-cluster gitlab --server="$API_SERVER"
			kubectl config use-context path/to/agent/project:agent-name
			kubectl auth whoami`},
		{"heredoc", heredoc + `
			kubectl --kubeconfig="$KUBE_CFG_FILE" config set-cluster agent --certificate-authority="$API_SERVER_CA"
			kubectl --kubeconfig="$KUBE_CFG_FILE" auth whoami`},
		{"heredoc, authority in SSL_CERT_FILE", heredoc + `
			export SSL_CERT_FILE="$API_SERVER_CA"
			kubectl --kubeconfig="$KUBE_CFG_FILE" auth whoami`},
		{"set-credentials", setCredentials + `
			kubectl config set-cluster gitlab --certificate-authority="$API_SERVER_CA"
			kubectl auth whoami`},
		{"set-credentials, authority in SSL_CERT_FILE", setCredentials + `
			export SSL_CERT_FILE="$API_SERVER_CA"
			kubectl auth whoami`},
	}
	variables := []string{
		"AGENT_ID=4", "KUBE_CONTEXT=my-context", "KUBE_CFG_FILE=.kubeconfig.agent.yaml", // relative to the job's folder
		"API_SERVER=" + site.API.URL, "K8S_PROXY_URL=" + site.API.URL, "API_SERVER_CA=" + site.Plane.CAFile(),
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := runJob(t, gitlabtest.Job{}, variables...)
			result, err := j.Script(t.Context(), test.script)
			if err != nil {
				t.Fatal(err)
			}
			if !result.OK() || !strings.Contains(result.Stdout, j.username()) {
				t.Errorf("the script should have ended with a whoami that names %s: %s", j.username(), result)
			}
		})
	}
}

func TestLogin_EveryJobTokenFormatWorks(t *testing.T) {
	updateGitLab(t, func(w *gitlabtest.Instance) { w.Settings.AcceptsAnyTokenShape = true })
	t.Cleanup(func() { updateGitLab(t, func(w *gitlabtest.Instance) { w.Settings.AcceptsAnyTokenShape = false }) })
	tests := []struct {
		name, format string
	}{
		{"database", "database"},
		{"JWT", "jwt"},
		{"with partition, without prefix", "partition"},
		{"20 characters", "legacy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := loggedIn(t, gitlabtest.Job{TokenFormat: test.format}, ciJobContext)
			if got := whoami(t, j.Workspace).Username; got != j.username() {
				t.Errorf("username %s, want %s", got, j.username())
			}
		})
	}
}

// A finished job's token is dead: what the job could do ends once the caches on the way have forgotten it.
func TestLogin_EndsWithTheJob(t *testing.T) {
	j := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	whoami(t, j.Workspace)
	j.end(t)
	eventually.Succeeds(t, func() error { return checkUnauthorized(t, j.Workspace) })
}
