package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// A job can name the cluster instead of an agent. No agent is listed for it, and its kubeconfig has the job's token or an
// ID token. The token is in the file and in no command's arguments.
func TestCIAuthor_NamesTheCluster(t *testing.T) {
	authors(t)
	const idToken = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJwcm9kIn0.aGFyZGx5LXNpZ25lZA"
	include := hidden(t, includeFile, nil).script()
	byInput := hidden(t, componentFile, map[string]string{"cluster": "prod", "id_token_variable": "PROD_TOKEN"})
	inputs := []string{"PROD_TOKEN=" + idToken}
	for name, value := range byInput.Variables {
		inputs = append(inputs, name+"="+value)
	}
	const flags = ` --cluster=prod --server="$JOBGATE_URL" --ca="$JOBGATE_CA_FILE"`
	rows := []struct {
		name   string
		env    []string
		script string
		want   string // the token in the kubeconfig
	}{
		{name: "include", env: []string{"JOBGATE_CLUSTER=prod"}, script: include, want: `ci:prod:$CI_JOB_TOKEN`},
		{name: "include without KUBECONFIG", env: []string{"JOBGATE_CLUSTER=prod", "KUBECONFIG="}, script: include,
			want: `ci:prod:$CI_JOB_TOKEN`},
		{name: "include with an ID token",
			env:    []string{"JOBGATE_CLUSTER=prod", "JOBGATE_ID_TOKEN_VARIABLE=PROD_TOKEN", "PROD_TOKEN=" + idToken},
			script: include, want: `$PROD_TOKEN`},
		{name: "component with an ID token", env: inputs, script: byInput.script(), want: `$PROD_TOKEN`},
		{name: "jobgate", script: "jobgate kubeconfig" + flags, want: `ci:prod:$CI_JOB_TOKEN`},
		{name: "jobgate with an ID token", env: []string{"PROD_TOKEN=" + idToken},
			script: "jobgate kubeconfig" + flags + " --id-token-variable=PROD_TOKEN", want: `$PROD_TOKEN`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Project: lonelyProject}, row.env...)
			arguments := filepath.Join(t.TempDir(), "arguments")
			result := j.shell(t, recordArguments(arguments)+row.script+`
[ "$(stat -c %a "$KUBECONFIG")" = 600 ]
[ "$(command kubectl config current-context)" = prod ]
[ "$(command kubectl config view --raw --minify --output=jsonpath='{.users[0].user.token}')" = "`+row.want+`" ]`)
			if !result.OK() {
				t.Errorf("the kubeconfig is not what it should be: %s", result)
			}
			if strings.Contains(result.Stdout+result.Stderr, idToken) {
				t.Error("the job's log shows its ID token")
			}
			recorded, err := os.ReadFile(arguments)
			if err != nil && strings.Contains(row.script, "kubectl") {
				t.Fatal(err)
			}
			for _, token := range []string{j.Token, idToken} {
				if strings.Contains(string(recorded), token) {
					t.Error("an argument of kubectl has the token")
				}
			}
		})
	}
}

// recordArguments has a script note what it runs kubectl with.
func recordArguments(file string) string {
	return `kubectl() { echo "$@" >> ` + file + `; command kubectl "$@"; }
`
}

func TestCIAuthor_NamesTheClusterWithoutAToken(t *testing.T) {
	authors(t)
	include := hidden(t, includeFile, nil).script()
	const flags = `jobgate kubeconfig --cluster=prod --server="$JOBGATE_URL" --ca="$JOBGATE_CA_FILE"`
	rows := []struct {
		name   string
		env    []string
		script string
		want   string
	}{
		{name: "include", env: []string{"JOBGATE_CLUSTER=prod", "JOBGATE_ID_TOKEN_VARIABLE=PROD_TOKEN"}, script: include,
			want: "PROD_TOKEN is not set"},
		{name: "include, and an agent", env: []string{"JOBGATE_CLUSTER=prod", "JOBGATE_AGENT_ID=4"}, script: include, want: "are both set"},
		{name: "include, with a command for a variable",
			env: []string{"JOBGATE_CLUSTER=prod", "JOBGATE_ID_TOKEN_VARIABLE=A}$(id)"}, script: include, want: "is not a variable's name"},
		{name: "include, with a name that is none", env: []string{"JOBGATE_CLUSTER=4"}, script: include, want: "is not a cluster's name"},
		{name: "jobgate", script: "unset CI_JOB_TOKEN; " + flags, want: "CI_JOB_TOKEN is not set"},
		{name: "jobgate, with an ID token", script: flags + " --id-token-variable=PROD_TOKEN", want: "PROD_TOKEN is not set"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			result := authorJob(t, gitlabtest.Job{Project: lonelyProject}, row.env...).shell(t, row.script)
			if result.ExitCode != 1 || !strings.Contains(result.Stderr, row.want) {
				t.Errorf("want exit code 1 and %q: %s", row.want, result)
			}
		})
	}
}
