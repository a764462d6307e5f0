package e2e_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// use is a job's own script: it shows who the job is, and needs a right in the namespace of the agent's authors.
var use = []string{"kubectl auth whoami", "kubectl get pods", "kubectl config view --minify --output=jsonpath='{..namespace}'"}

// wantUsed fails unless the script, which ends with use, ran to its end as the job, in the namespace.
func wantUsed(t *testing.T, j job, script, namespace string) {
	t.Helper()
	result := j.shell(t, script)
	if !result.OK() || !strings.Contains(result.Stdout, j.username()) || !strings.HasSuffix(result.Stdout, "\n"+namespace) {
		t.Errorf("the script should have ended as %s in the namespace %s: %s", j.username(), namespace, result)
	}
}

// The include and the component are one script, which reads the same variables.
func TestCIAuthor_IncludeAndComponentAreOneScript(t *testing.T) {
	include, component := hidden(t, includeFile, nil), hidden(t, componentFile, nil)
	if diff := cmp.Diff(include.BeforeScript, component.BeforeScript); diff != "" {
		t.Errorf("before_script of the include (-) and of the component (+):\n%s", diff)
	}
	for name, value := range component.Variables {
		if value != "" || !strings.Contains(include.script(), name) {
			t.Errorf("variable %s is %q by default, or the include does not read it", name, value)
		}
	}
}

func TestCIAuthor_IncludePointsTheJobAtTheCluster(t *testing.T) {
	authors(t)
	pem, err := os.ReadFile(site.Plane.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	id := strconv.Itoa(authorAgent)
	const own, elsewhere = authorNamespace, "default"
	rows := []struct {
		name      string
		project   int64
		env       []string
		prelude   string
		namespace string
	}{
		{name: "the only agent", project: authorProject, namespace: own},
		{name: "one of several agents", project: twoAgentsProject, env: []string{"JOBGATE_CONTEXT=" + authorContext}, namespace: own},
		{name: "another namespace", project: authorProject, env: []string{"JOBGATE_NAMESPACE=" + elsewhere}, namespace: elsewhere},
		{name: "the CA as PEM", project: authorProject, env: []string{"JOBGATE_CA_FILE=" + string(pem)}, namespace: own},
		{name: "the CA in base64", project: authorProject,
			env: []string{"JOBGATE_CA_FILE=" + base64.StdEncoding.EncodeToString(pem)}, namespace: own},
		{name: "the CA in SSL_CERT_FILE", project: authorProject,
			env: []string{"JOBGATE_CA_FILE=", "SSL_CERT_FILE=" + site.Plane.CAFile()}, namespace: own},
		{name: "a KUBECONFIG that cannot be written to", project: authorProject,
			prelude: `exec 9< "$KUBECONFIG"; export KUBECONFIG=/dev/fd/9`, namespace: own},
		{name: "by the agent's id", project: authorProject,
			env: []string{"JOBGATE_AGENT_ID=" + id, "JOBGATE_NAMESPACE=author", "KUBECONFIG="}, namespace: own},
		{name: "by the agent's id, with the agent's default_namespace", project: twoAgentsProject,
			env: []string{"JOBGATE_AGENT_ID=" + id}, namespace: own},
		{name: "by the agent's id, in a context of another name", project: twoAgentsProject,
			env: []string{"JOBGATE_AGENT_ID=" + id, "JOBGATE_CONTEXT=my-context"}, namespace: own},
		{name: "beside a certificate-based cluster", project: authorProject, env: certificateCluster,
			prelude: certificateContext, namespace: own},
		{name: "by the agent's id, beside a certificate-based cluster", project: authorProject,
			env: append([]string{"JOBGATE_AGENT_ID=" + id}, certificateCluster...), prelude: certificateContext, namespace: own},
		{name: "where what is not set is an error", project: authorProject, prelude: "set -u", namespace: own},
	}
	include := hidden(t, includeFile, nil)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Project: row.project, Environment: authorEnvironment}, row.env...)
			lines := append([]string{`cmp "$before" "$TMPDIR/before"`, `test "$(stat -c %a "$KUBECONFIG")" = 600`}, use...)
			if row.namespace == elsewhere {
				lines = []string{use[0], use[1] + " --namespace=" + own, use[2]}
			}
			// GitLab's own file stays as it is.
			const remember = `before="${KUBECONFIG:-/dev/null}"; cp "$before" "$TMPDIR/before"`
			wantUsed(t, j, strings.Join([]string{row.prelude, remember, include.script(lines...)}, "\n"), row.namespace)
		})
	}
}

// certificateCluster are the variables that GitLab sets for a cluster that is connected with certificates.
var certificateCluster = []string{"KUBE_URL=https://certificate.example.com", "KUBE_TOKEN=certificate-cluster", "KUBE_NAMESPACE=elsewhere"}

// certificateContext makes GitLab's kubeconfig that of a job with such a cluster, whose context is the current one.
const certificateContext = `
kubectl config set-cluster gitlab-deploy --server=https://certificate.example.com
kubectl config set-credentials gitlab-deploy --username=certificate-cluster
kubectl config set-context gitlab-deploy --cluster=gitlab-deploy --user=gitlab-deploy --namespace=elsewhere
kubectl config use-context gitlab-deploy
`

// A second cluster's agents keep what they have.
func TestCIAuthor_IncludeLeavesOtherAgentsAlone(t *testing.T) {
	authors(t)
	include := hidden(t, includeFile, nil)
	j := authorJob(t, gitlabtest.Job{Project: twoAgentsProject})
	result := j.shell(t, "JOBGATE_CONTEXT="+authorContext+"\n"+include.script()+
		"\nJOBGATE_URL=https://far.example.com JOBGATE_CA_FILE= JOBGATE_CONTEXT="+farContext+"\n"+include.script(
		"kubectl config view --output=jsonpath='{range .contexts[*]}{.name} {.context.cluster}{\"\\n\"}{end}'",
		"kubectl config view --output=jsonpath='{range .clusters[*]}{.name} {.cluster.server}{\"\\n\"}{end}'",
		"kubectl config current-context"))
	if !result.OK() {
		t.Fatalf("the script failed: %s", result)
	}
	for _, want := range []string{
		authorContext + " " + authorContext + "\n", farContext + " " + farContext + "\n",
		authorContext + " " + site.API.URL + "\n", farContext + " https://far.example.com\n", "gitlab https://kas.gitlab.example.com/k8s-proxy/\n",
	} {
		if !strings.Contains(result.Stdout, want) {
			t.Errorf("the kubeconfig lacks %q:\n%s", want, result.Stdout)
		}
	}
	if !strings.HasSuffix(result.Stdout, farContext+"\n") {
		t.Errorf("the current context is not %s:\n%s", farContext, result.Stdout)
	}
}

func TestCIAuthor_IncludeSaysWhatIsMissing(t *testing.T) {
	authors(t)
	rows := []struct {
		name    string
		project int64
		env     []string
		want    string
	}{
		{name: "no URL", project: authorProject, env: []string{"JOBGATE_URL="}, want: "JOBGATE_URL is not set. Set it to the address"},
		{name: "GitLab's URL of another cluster", project: authorProject, env: append([]string{"JOBGATE_URL="}, certificateCluster...),
			want: "JOBGATE_URL is not set. KUBE_URL is, but jobgate does not use it: GitLab sets it, with KUBE_TOKEN,"},
		{name: "a URL of the old name", project: authorProject, env: []string{"JOBGATE_URL=", "KUBE_URL=" + site.API.URL},
			want: "KUBE_URL is, but jobgate does not use it"},
		{name: "no encryption", project: authorProject, env: []string{"JOBGATE_URL=http://api.example.com"},
			want: "does not begin with https://"},
		{name: "the tunnel", project: authorProject, env: []string{"JOBGATE_URL=https://kas.gitlab.example.com/k8s-proxy/"},
			want: "GitLab's tunnel"},
		{name: "several agents", project: twoAgentsProject, want: "Set JOBGATE_CONTEXT to one of: " + authorContext + " " + farContext},
		{name: "another context", project: twoAgentsProject, env: []string{"JOBGATE_CONTEXT=a:b"},
			want: "JOBGATE_CONTEXT is a:b, but GitLab lists no agent of that name for this job. It lists: " + authorContext},
		{name: "no agent", project: lonelyProject, env: []string{"KUBECONFIG="}, want: "KUBECONFIG is not set, so GitLab lists no agent"},
		{name: "an empty kubeconfig", project: lonelyProject, want: "KUBECONFIG has no context of an agent"},
		{name: "the context of a certificate-based cluster", project: authorProject, env: []string{"JOBGATE_CONTEXT=gitlab-deploy"},
			want: "JOBGATE_CONTEXT is gitlab-deploy, but GitLab lists no agent of that name"},
		{name: "an agent's name for its id", project: authorProject, env: []string{"JOBGATE_AGENT_ID=author"},
			want: "JOBGATE_AGENT_ID is not a number"},
		{name: "a CA that is not there", project: authorProject, env: []string{"JOBGATE_CA_FILE=/nonexistent/ca.crt"},
			want: "/nonexistent/ca.crt"},
	}
	include := hidden(t, includeFile, nil)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Project: row.project}, row.env...)
			result := j.shell(t, include.script("echo the script went on"))
			if result.OK() || !strings.Contains(result.Stderr, row.want) || strings.Contains(result.Stdout, "went on") {
				t.Errorf("the script should have ended with %q: %s", row.want, result)
			}
		})
	}
}

func TestCIAuthor_ComponentPointsTheJobAtTheCluster(t *testing.T) {
	authors(t)
	pem, err := os.ReadFile(site.Plane.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		inputs map[string]string
		env    []string
	}{
		{"every input", map[string]string{
			"job": ".prod", "api_server": site.API.URL, "certificate_authority": "$MY_CA_FILE", "context": authorContext, "namespace": authorNamespace,
		}, []string{"JOBGATE_URL=https://other.example.com", "JOBGATE_CA_FILE=/nonexistent", "JOBGATE_CONTEXT=other", "MY_CA_FILE=" + site.Plane.CAFile()}},
		{"the CA in base64", map[string]string{
			"certificate_authority": base64.StdEncoding.EncodeToString(pem), "context": authorContext,
		}, []string{"JOBGATE_CA_FILE="}},
		{"variables of the same names", map[string]string{
			"api_server": "$JOBGATE_URL", "certificate_authority": "${JOBGATE_CA_FILE}", "context": authorContext,
		}, nil},
		{"by the agent's id", map[string]string{"agent_id": strconv.Itoa(authorAgent), "namespace": authorNamespace}, []string{"KUBECONFIG="}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			component := hidden(t, componentFile, row.inputs)
			env := append([]string{"JOBGATE_URL=" + site.API.URL, "JOBGATE_CA_FILE=" + site.Plane.CAFile()}, row.env...)
			for name, value := range component.Variables {
				env = append(env, name+"="+expand(value, env))
			}
			j := authorJob(t, gitlabtest.Job{Project: twoAgentsProject, Environment: authorEnvironment}, env...)
			wantUsed(t, j, component.script(use...), authorNamespace)
		})
	}
}

// expand is what the runner makes of variables in variables: the last of a name counts, and one that is not set is
// empty.
func expand(text string, env []string) string {
	return os.Expand(text, func(name string) string {
		value := ""
		for _, variable := range env {
			if rest, ok := strings.CutPrefix(variable, name+"="); ok {
				value = rest
			}
		}
		return value
	})
}

func TestCIAuthor_KubeconfigCommand(t *testing.T) {
	authors(t)
	id := strconv.Itoa(authorAgent)
	rows := []struct {
		name    string
		project int64
		env     []string
		command string
	}{
		{name: "the only agent", project: authorProject, command: "jobgate kubeconfig"},
		{name: "one of several agents", project: twoAgentsProject, command: "jobgate kubeconfig --agent=" + authorContext},
		{name: "flags alone", project: authorProject, env: []string{"JOBGATE_URL=", "JOBGATE_CA_FILE="},
			command: "jobgate kubeconfig --server=" + site.API.URL +
				" --certificate-authority=" + site.Plane.CAFile()},
		{name: "another file", project: twoAgentsProject,
			command: `eval "$(jobgate kubeconfig --agent=` + id + ` --output-file="$TMPDIR/own")"; test "$KUBECONFIG" = "$TMPDIR/own"`},
		{name: "standard output", project: authorProject,
			command: `umask 077; jobgate kubeconfig --output-file=- > "$TMPDIR/own"; export KUBECONFIG="$TMPDIR/own"`},
		{name: "without GitLab's kubeconfig", project: twoAgentsProject,
			command: `export KUBECONFIG="$TMPDIR/none/own"; mkdir "$TMPDIR/none"; jobgate kubeconfig --agent=` + id + "=" + authorContext +
				`; test "$(kubectl config current-context)" = ` + authorContext},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Project: row.project, Environment: authorEnvironment}, row.env...)
			wantUsed(t, j, strings.Join(append([]string{row.command, `test "$(stat -c %a "$KUBECONFIG")" = 600`}, use...), "\n"), authorNamespace)
		})
	}
}

func TestCIAuthor_KubeconfigCommandRefuses(t *testing.T) {
	authors(t)
	ended := authorJob(t, gitlabtest.Job{})
	ended.end(t)
	rows := []struct {
		name    string
		job     job
		command string
		want    string
	}{
		{name: "a job that has ended", job: ended, command: "jobgate kubeconfig", want: "401 Unauthorized"},
		{name: "an agent that is not listed", job: authorJob(t, gitlabtest.Job{}),
			command: "jobgate kubeconfig --agent=" + strconv.Itoa(closedAgent),
			want:    "GitLab does not list agent 204 for this job (it lists 201)"},
		{name: "no agent", job: authorJob(t, gitlabtest.Job{Project: lonelyProject}), command: "jobgate kubeconfig",
			want: "GitLab lists no agent for this job"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			result := row.job.shell(t, row.command)
			if result.ExitCode != 1 || !strings.Contains(result.Stderr, "jobgate: ") || !strings.Contains(result.Stderr, row.want) {
				t.Errorf("want exit code 1 and %q: %s", row.want, result)
			}
			if left, _ := filepath.Glob(row.job.Kubeconfig + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Where a page gives kubectl a CA, its lines work without one, too: an empty flag would make kubectl read a folder as the CA.
func TestCIAuthor_PagesWorkWithoutACA(t *testing.T) {
	defer grantReaders(t)()
	env := []string{"JOBGATE_CA_FILE=", "SSL_CERT_FILE=" + site.Plane.CAFile()}
	found := 0
	for _, page := range allPages(t) {
		for _, block := range page.Blocks {
			if !strings.Contains(block.Text, "--certificate-authority=") {
				continue
			}
			switch {
			case block.Is(shell, wayRun, "job"):
				found++
				if result := pageReader(t, "prod", env...).shell(t, block.Text); !result.OK() {
					t.Errorf("%s: %s", block, result)
				}
			case block.Is("yaml", wayRun, "job"):
				jobs, hiddenJobs := pipeline(t, block.Text)
				for name, j := range jobs {
					if len(j.Script) == 0 {
						continue
					}
					found++
					if result := j.inherit(t, block, hiddenJobs).run(t, env...); !result.OK() {
						t.Errorf("%s: job %s: %s", block, name, result)
					}
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page gives kubectl a CA")
	}
}
