package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// ciJob is the environment of a running job that may use the agents 4 (prod) and 5 (staging).
type ciJob struct {
	gitlab *gitlabtest.Server
	token  string
}

const tunnelURL = "https://kas.gitlab.example.com/k8s-proxy/"

func runCIJob(t *testing.T) *ciJob {
	t.Helper()
	agent := func(id int64, name string) gitlabtest.Agent {
		return gitlabtest.Agent{ID: id, Name: name, Project: 7, Config: "ci_access:\n  projects:\n  - id: acme/web\n" +
			"    default_namespace: web\n    access_as: {ci_job: {}}\n"}
	}
	s := gitlabtest.New(t, gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "acme"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "acme/web"}, {ID: 7, Group: 23, Path: "acme/agents"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{agent(4, "prod"), agent(5, "staging")},
		Jobs:     []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running"}},
	})
	w := s.Instance()
	j := &ciJob{gitlab: s, token: w.Job(1001).Token}
	for name, value := range map[string]string{
		"CI_JOB_TOKEN": j.token, "CI_JOB_ID": "1001", "CI_PROJECT_ID": "150", "CI_API_V4_URL": s.URL() + "/api/v4",
		"CI_SERVER_TLS_CA_FILE": "", "JOBGATE_URL": "https://api.example.com:6443", "JOBGATE_CA_FILE": "", "JOBGATE_CONTEXT": "",
		"KUBECONFIG": filepath.Join(t.TempDir(), "KUBECONFIG"), "HOME": t.TempDir(),
	} {
		t.Setenv(name, value)
	}
	raw, err := s.Kubeconfig(1001, tunnelURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(os.Getenv("KUBECONFIG"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	return j
}

// runApart runs a command line with standard output and error apart.
func runApart(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, notes bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&notes)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), notes.String(), err
}

// servers are the servers of the file's contexts, and its current context.
func servers(t *testing.T, file string) string {
	t.Helper()
	config, err := cijob.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, name := range []string{"acme/agents:prod", "acme/agents:staging"} {
		if c := config.Contexts[name]; c != nil {
			text += fmt.Sprintf("%s %s; ", config.Clusters[c.Cluster].Server, c.Namespace)
		}
	}
	return text + config.CurrentContext
}

func TestKubeconfig(t *testing.T) {
	const own = "https://api.example.com:6443 web; "
	rows := []struct {
		name string
		args string
		env  map[string]string
		want string // in $KUBECONFIG
		note string
	}{
		{name: "every agent", want: own + own, note: "no context is current"},
		{name: "one agent", args: "--agent=4",
			want: own + tunnelURL + " web; acme/agents:prod", note: "the current context is acme/agents:prod"},
		{name: "one agent by its context", args: "--agent=acme/agents:staging",
			want: tunnelURL + " web; " + own + "acme/agents:staging", note: "agent 5"},
		{name: "a context to be current", args: "--context=acme/agents:staging", want: own + own + "acme/agents:staging"},
		{name: "JOBGATE_CONTEXT", env: map[string]string{"JOBGATE_CONTEXT": "acme/agents:prod"}, want: own + own + "acme/agents:prod"},
		{name: "the flags come first", args: "--context=acme/agents:prod --server=https://other.example.com -n shop",
			env:  map[string]string{"JOBGATE_CONTEXT": "acme/agents:staging"},
			want: "https://other.example.com shop; https://other.example.com shop; acme/agents:prod"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := runCIJob(t)
			for name, value := range row.env {
				t.Setenv(name, value)
			}
			stdout, notes, err := runApart(t, append([]string{"kubeconfig"}, strings.Fields(row.args)...)...)
			if err != nil {
				t.Fatal(err)
			}
			file := os.Getenv("KUBECONFIG")
			if got := servers(t, file); got != row.want {
				t.Errorf("the file has %q, want %q", got, row.want)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
				t.Errorf("mode is %v, %v", info.Mode(), err)
			}
			if stdout != "" || !strings.Contains(notes, row.note) {
				t.Errorf("standard output is %q, notes are %q, want %q", stdout, notes, row.note)
			}
			if strings.Contains(notes, j.token) {
				t.Error("the notes show the token")
			}
		})
	}
}

func TestKubeconfig_OutputFile(t *testing.T) {
	j := runCIJob(t)
	own := filepath.Join(t.TempDir(), "it's mine")
	stdout, _, err := runApart(t, "kubeconfig", "--agent=4", "--output-file", own)
	if want := "export KUBECONFIG='" + strings.ReplaceAll(own, "'", `'\''`) + "'\n"; err != nil || stdout != want {
		t.Fatalf("standard output is %q, want %q (%v)", stdout, want, err)
	}
	if got := servers(t, os.Getenv("KUBECONFIG")); got != tunnelURL+" web; "+tunnelURL+" web; " {
		t.Errorf("GitLab's file was changed: %s", got)
	}
	// A second cluster, into the same file.
	if _, _, err := runApart(t, "kubeconfig", "--agent=5", "--server=https://two.example.com", "--output-file", own); err != nil {
		t.Fatal(err)
	}
	if got := servers(t, own); got != "https://api.example.com:6443 web; https://two.example.com web; acme/agents:staging" {
		t.Errorf("after two runs the file has %s", got)
	}
	stdout, _, err = runApart(t, "kubeconfig", "--output-file=-")
	if err != nil || !strings.Contains(stdout, "ci:4:"+j.token) {
		t.Errorf("standard output has no kubeconfig: %v", err)
	}
}

func TestKubeconfig_Refuses(t *testing.T) {
	end := func(t *testing.T, j *ciJob) {
		if err := j.gitlab.Update(func(w *gitlabtest.Instance) { w.Job(1001).Status = "success" }); err != nil {
			t.Fatal(err)
		}
	}
	setenv := func(name, value string) func(*testing.T, *ciJob) {
		return func(t *testing.T, _ *ciJob) { t.Setenv(name, value) }
	}
	rows := []struct {
		name    string
		args    string
		arrange func(*testing.T, *ciJob)
		want    string
	}{
		{name: "no token", arrange: setenv("CI_JOB_TOKEN", ""), want: "CI_JOB_TOKEN is not set"},
		{name: "a token that is none", arrange: func(t *testing.T, j *ciJob) { t.Setenv("CI_JOB_TOKEN", j.token+"\n") },
			want: "characters that no GitLab token has"},
		{name: "no API server", arrange: setenv("JOBGATE_URL", ""), want: "JOBGATE_URL is not set"},
		{name: "no API server but GitLab's KUBE_URL", arrange: func(t *testing.T, _ *ciJob) {
			t.Setenv("JOBGATE_URL", "")
			t.Setenv("KUBE_URL", "https://certificate.example.com")
			t.Setenv("KUBE_TOKEN", "t")
		}, want: "KUBE_URL is not used: it is GitLab's own"},
		{name: "no encryption", args: "--server=http://api", want: "begins with http://"},
		{name: "the tunnel", args: "--server=" + tunnelURL, want: "GitLab's tunnel"},
		{name: "a CA that is not there", args: "--ca=/nonexistent", want: "read the API server's CA"},
		{name: "a CA that is not there, by kubectl's name for the flag", args: "--certificate-authority=/nonexistent",
			want: "read the API server's CA"},
		{name: "an agent's id that is none", arrange: setenv("JOBGATE_AGENT_ID", "prod"), want: "JOBGATE_AGENT_ID is not a number"},
		{name: "the context of another cluster", args: "--context=gitlab-deploy", arrange: addCertificateCluster,
			want: `"gitlab-deploy" is not the agent's context: its user is "gitlab-deploy"`},
		{name: "another cluster's context as an agent", args: "--agent=gitlab-deploy", arrange: addCertificateCluster,
			want: `there is no context "gitlab-deploy" of an agent`},
		{name: "an agent that is none", args: "--agent=0", want: `--agent: "0" is not an agent`},
		{name: "an agent that is not listed", args: "--agent=9",
			want: "job 1001 of project 150: GitLab does not list agent 9 for this job (it lists 4, 5)"},
		{name: "a context that is not there", args: "--context=acme/agents:other", want: `there is no context "acme/agents:other"`},
		{name: "a job that has ended", arrange: end, want: "401"},
		{name: "no KUBECONFIG", arrange: setenv("KUBECONFIG", ""), want: `export KUBECONFIG="$CI_PROJECT_DIR.tmp/kubeconfig"`},
		{name: "several files", arrange: setenv("KUBECONFIG", "/a:/b"), want: "names 2 files"},
		{name: "a folder that is not there", args: "--output-file=/nonexistent/kubeconfig", want: "name another file with --output-file"},
		{name: "a kubeconfig that is none", arrange: func(t *testing.T, j *ciJob) {
			if err := os.WriteFile(os.Getenv("KUBECONFIG"), []byte(j.token), 0o600); err != nil {
				t.Fatal(err)
			}
		}, want: "read the kubeconfig"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j := runCIJob(t)
			if row.arrange != nil {
				row.arrange(t, j)
			}
			stdout, notes, err := runApart(t, append([]string{"kubeconfig"}, strings.Fields(row.args)...)...)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("error is %v, want %q", err, row.want)
			}
			if all := stdout + notes + err.Error(); strings.Contains(all, j.token[len(j.token)-12:]) {
				t.Error("the token shows")
			}
		})
	}
}

// addCertificateCluster adds what GitLab does for a cluster that is connected with certificates: a context that is the
// current one.
func addCertificateCluster(t *testing.T, _ *ciJob) {
	t.Helper()
	file := os.Getenv("KUBECONFIG")
	config, err := cijob.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	const name = "gitlab-deploy"
	config.Clusters[name] = &clientcmdapi.Cluster{Server: "https://certificate.example.com"}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: "certificate"}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := cijob.Write(file, config); err != nil {
		t.Fatal(err)
	}
}

// A job beside a certificate-based cluster gets the agent's context, or none where it must choose, but never gitlab-deploy.
func TestKubeconfig_BesideACertificateCluster(t *testing.T) {
	for args, current := range map[string]string{"--agent=4": "acme/agents:prod", "--agent=4,5": ""} {
		t.Run(args, func(t *testing.T) {
			addCertificateCluster(t, runCIJob(t))
			if _, _, err := runApart(t, "kubeconfig", args); err != nil {
				t.Fatal(err)
			}
			config, err := cijob.Load(os.Getenv("KUBECONFIG"))
			if err != nil {
				t.Fatal(err)
			}
			if config.CurrentContext != current {
				t.Errorf("the current context is %q, want %q", config.CurrentContext, current)
			}
			if c := config.Contexts["gitlab-deploy"]; c == nil || config.Clusters[c.Cluster].Server != "https://certificate.example.com" {
				t.Error("the context gitlab-deploy has changed")
			}
		})
	}
}

func TestKubeconfig_JobgatesVariables(t *testing.T) {
	runCIJob(t)
	t.Setenv("JOBGATE_AGENT_ID", "5")
	t.Setenv("JOBGATE_CONTEXT", "mine")
	t.Setenv("JOBGATE_NAMESPACE", "shop")
	if _, _, err := runApart(t, "kubeconfig"); err != nil {
		t.Fatal(err)
	}
	config, err := cijob.Load(os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Contexts["mine"]; config.CurrentContext != "mine" || c.AuthInfo != "agent:5" || c.Namespace != "shop" {
		t.Errorf("the current context is %q: %+v", config.CurrentContext, c)
	}
}

func TestKubeconfig_BadUsage(t *testing.T) {
	rows := []struct{ name, args, want string }{
		{"-o, which is a format elsewhere", "-o json", "unknown shorthand flag: 'o' in -o\njobgate kubeconfig --help"},
		{"unknown flag", "--nonsense", "unknown flag"},
		{"argument", "json", "unknown command"},
		{"agent that is none", "--agent=0", `--agent: "0" is not an agent`},
		{"http", "--server=http://api", "--server: "},
		{"agent and cluster", "--agent=4 --cluster=prod", "give one of the two"},
		{"agent and ID token", "--agent=4 --id-token-variable=X", "give one of the two"},
		{"ID token without a cluster", "--id-token-variable=X", "--id-token-variable needs --cluster"},
		{"cluster's name that is none", "--cluster=4", `--cluster is "4"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			runCIJob(t)
			t.Chdir(t.TempDir())
			_, _, err := runApart(t, append([]string{"kubeconfig"}, strings.Fields(row.args)...)...)
			if exitStatus(err) != statusUsage || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error is %v, want the exit status %d and %q", err, statusUsage, row.want)
			}
			if left, _ := filepath.Glob("*"); len(left) > 0 {
				t.Errorf("it wrote %v", left)
			}
		})
	}
}

// If GitLab's agent server is off, there is no kubeconfig, and nothing tells the agents' names.
func TestKubeconfig_WithoutGitLabs(t *testing.T) {
	runCIJob(t)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	t.Setenv("KUBECONFIG", file)
	_, notes, err := runApart(t, "kubeconfig", "--agent=4=acme/agents:prod,5")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(notes, "context acme/agents:agent-5 (agent 5)") || !strings.Contains(notes, "name it with --agent=5=CONTEXT") {
		t.Errorf("notes are %q", notes)
	}
	if got := servers(t, file); got != "https://api.example.com:6443 web; " {
		t.Errorf("the file has %q", got)
	}
}
