package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/docs"
	"github.com/jobgate/jobgate/e2e/process"
)

// updateVariable, set to anything, rewrites what pages show of init's output, instead of comparing it.
const updateVariable = "UPDATE_DOCS"

// What pages call the things that have other addresses here.
const (
	shownGitLab  = "https://gitlab.example.com"
	shownHealth  = "127.0.0.1:9444"
	shownServing = "127.0.0.1:9443"
	// shownAuditLog is the API server's, which a machine has none of: its own has one event.
	shownAuditLog = "/var/log/kubernetes/audit/audit.log"
	// shownDecisions is the file of jobgate init --decision-log.
	shownDecisions = "/var/log/jobgate/decisions.jsonl"
	decisions      = "/root/decisions.jsonl"
	auditEvent     = `{"kind":"Event","verb":"list","user":{"username":"gitlab:ci_job:1001","extra":{"agent.gitlab.com/ci_job_id":["1001"]}}}` + "\n"
)

// machine is a machine on which pages' commands run as root. It has the files of the machine that runs the tests, but its own
// /etc/kubernetes, /root and /usr/local/bin, where jobgate and kubectl are. Each command has a mount namespace for that, so a
// path on a page is the path here.
type machine struct {
	dir   string
	files struct{ etc, kubernetes, home, bin string }
}

// enter makes the namespace. Its /etc has links to the real files, because the real one may have no folder kubernetes.
const enter = `mount --rbind /etc "$MACHINE/host-etc"
mount --bind "$MACHINE/etc" /etc
mount --bind "$MACHINE/bin" /usr/local/bin
mount --bind "$MACHINE/root" /root
cd /root
exec "$@"
`

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir()}
	at := func(name string) string { return filepath.Join(m.dir, name) }
	m.files.etc, m.files.kubernetes, m.files.home, m.files.bin = at("etc"), at("etc/kubernetes"), at("root"), at("bin")
	for _, folder := range []string{at("host-etc"), m.files.kubernetes, m.files.home, m.files.bin} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir("/etc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "kubernetes" {
			continue
		}
		if err := os.Symlink(filepath.Join(at("host-etc"), e.Name()), filepath.Join(m.files.etc, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	set := site.Binaries()
	if err := os.Symlink(set.Kubectl, filepath.Join(m.files.bin, "kubectl")); err != nil {
		t.Fatal(err)
	}
	// jobgate prints its own path, which is not that of a link.
	content, err := os.ReadFile(set.Jobgate)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(m.files.bin, "jobgate"), content, 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// command is one to run on the machine, with its environment besides PATH and HOME. A user other than root gets a user
// namespace, too.
func (m *machine) command(args ...string) (path string, all, env []string) {
	all = []string{"--mount"}
	if os.Getuid() != 0 {
		all = []string{"--user", "--map-current-user", "--keep-caps", "--mount"}
	}
	all = append(all, "--", "/bin/sh", "-ec", enter, "sh")
	return "unshare", append(all, args...), []string{
		"MACHINE=" + m.dir, "HOME=/root", "PATH=/usr/local/bin:" + os.Getenv("PATH"), "KUBECONFIG=",
	}
}

// run runs lines of shell; the first failing one ends them.
func (m *machine) run(t *testing.T, script string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	path, args, env := m.command("/bin/sh", "-e", "-c", script)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := process.Run(cmd); err != nil {
		return out.String(), fmt.Errorf("%w\n%s%s", err, out.String(), errOut.String())
	}
	return out.String(), nil
}

// write puts a file where the machine's user root finds it.
func (m *machine) write(t *testing.T, path, text string) {
	t.Helper()
	for seen, real := range map[string]string{"/etc/kubernetes/": m.files.kubernetes, "/root/": m.files.home} {
		if name, ok := strings.CutPrefix(path, seen); ok {
			writeFile(t, real, name, []byte(text))
			return
		}
	}
	t.Fatalf("%s is in no folder of the machine's own", path)
}

// presentCluster is a kubeadm cluster before jobgate.
const presentCluster = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
controlPlaneEndpoint: api.prod.example.com:6443
networking: {dnsDomain: cluster.local, serviceSubnet: 10.96.0.0/12}
`

// What init prints and writes is on the page. The files it may be given are there: an AuthorizationConfiguration and a
// ClusterConfiguration of the cluster's own, and the CA of GitLab's certificate.
func TestCommands_InitPrintsAndWritesWhatPagesShow(t *testing.T) {
	update := os.Getenv(updateVariable) != ""
	for _, page := range allPages(t) {
		latest, texts := map[string]initialized{}, map[int]string{}
		for i, block := range page.Blocks {
			if isInit(block) {
				latest[block.Words[1]] = initialize(t, block)
				continue
			}
			if !block.Is("text", "printed") && !block.Is("text", "flags") && !block.Is("yaml", "written") {
				continue
			}
			made, ok := latest[block.Words[1]]
			if !ok {
				t.Errorf("%s: no block ```sh init %s comes before", block, block.Words[1])
				continue
			}
			texts[i] = made.text(t, block)
			if diff := cmp.Diff(block.Text, texts[i]); diff != "" && !update {
				t.Errorf("%s differs from what init makes (-page +init); to rewrite it: %s=1 go test -run %s .\n%s",
					block, updateVariable, t.Name(), diff)
			}
		}
		if update && len(texts) > 0 {
			if err := page.Rewrite(texts); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// initialized is a machine after an init that a page shows.
type initialized struct {
	*machine
	printed string
}

func initialize(t *testing.T, b docs.Block) initialized {
	t.Helper()
	m := newMachine(t)
	if len(b.Words) == 3 {
		m.addControlPlane(t)
	}
	m.write(t, "/etc/kubernetes/authorization.yaml", presentAuthorizers)
	m.write(t, "/root/cluster-configuration.yaml", presentCluster)
	m.write(t, "/root/gitlab-ca.crt", string(site.GitLab.CACertPEM()))
	printed, err := m.run(t, b.Text)
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return initialized{machine: m, printed: printed}
}

// presentServer is the static pod of that cluster's kube-apiserver, as far as init reads it.
const presentServer = `apiVersion: v1
kind: Pod
spec:
  containers:
  - {name: kube-apiserver, command: [kube-apiserver, "--authorization-mode=Node,RBAC"]}
`

// addControlPlane makes the machine a control-plane node of presentCluster.
func (m *machine) addControlPlane(t *testing.T) {
	t.Helper()
	m.write(t, "/etc/kubernetes/manifests/kube-apiserver.yaml", presentServer)
	if err := site.API.WriteAdminKubeconfig(filepath.Join(m.files.kubernetes, "admin.conf")); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "ClusterConfiguration", []byte(presentCluster))
	succeed(t, admin(t), "create", "configmap", "kubeadm-config", "--namespace=kube-system", "--from-file="+file)
	putBack(t, admin(t), "delete", "configmap", "kubeadm-config", "--namespace=kube-system", "--ignore-not-found")
}

// keysStep is what init prints only for users other than root.
var keysStep = regexp.MustCompile(`(?s)\n0\. As root: .*?\n\n1\. `)

// text is what a block has to show of it.
func (i initialized) text(t *testing.T, b docs.Block) string {
	t.Helper()
	head, steps, found := strings.Cut(i.printed, "\nNext steps:\n\n")
	if !found {
		t.Fatalf("init printed no steps:\n%s", i.printed)
	}
	switch {
	case b.Is("text", "printed"):
		return strings.TrimPrefix(keysStep.ReplaceAllString("\n"+steps, "\n1. "), "\n")
	case b.Is("text", "flags"):
		_, flags, _ := strings.Cut(head, "--authorization-mode):\n")
		return regexp.MustCompile(`(?m)^ +`).ReplaceAllString(strings.TrimRight(flags, "\n"), "") + "\n"
	}
	if len(b.Words) != 3 {
		t.Fatalf("%s names no file", b)
	}
	text, err := os.ReadFile(filepath.Join(i.files.kubernetes, "jobgate", b.Words[2]))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Blocks of a node run on one that init has set up, and where jobgate runs. /root has a live job's token in job-token,
// and GitLab's reply about the job in reply.json.
func TestCommands_OnANode(t *testing.T) {
	forEachPage(t, []string{shell, wayRun, "node"}, func(t *testing.T, blocks []docs.Block) {
		m := newMachine(t)
		names := m.installJobgate(t)
		j := runJob(t, gitlabtest.Job{Environment: "prod"})
		m.write(t, "/root/job-token", j.Token)
		if _, err := m.run(t, names.Replace(askGitLab)); err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks {
			if _, err := m.run(t, names.Replace(block.Text)); err != nil {
				t.Errorf("%s: %v", block, err)
			}
		}
	})
}

// askGitLab asks about the job as jobgate does. A token is no argument.
const askGitLab = `printf 'JOB-TOKEN: ' | cat - job-token | ` +
	"curl --silent --show-error --fail --cacert gitlab-ca.crt --header @- " + shownGitLab + "/api/v4/job/allowed_agents > reply.json"

// installJobgate sets the machine up as a control-plane node and starts jobgate, until the test ends. It returns what has
// other names here than on pages.
func (m *machine) installJobgate(t *testing.T) *strings.Replacer {
	t.Helper()
	present, err := site.Jobgate.Configuration()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(present.GitLab.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "/root/gitlab-ca.crt", string(ca))
	serving, health := freeAddress(t), freeAddress(t)
	if _, err := m.run(t, "jobgate init --target=systemd --gitlab-url="+present.GitLab.URL+" --gitlab-ca=/root/gitlab-ca.crt"+
		" --agent=4="+ciJobContext+" --address="+serving+" --health-address="+health); err != nil {
		t.Fatal(err)
	}
	path, args, env := m.command("jobgate", "serve", "--config=/etc/kubernetes/jobgate/config.yaml", "--pki=/etc/kubernetes/jobgate/pki",
		"--decision-log="+decisions)
	if path, err = exec.LookPath(path); err != nil {
		t.Fatal(err)
	}
	(&node{health: health}).startAndWait(t, process.Spec{
		Name: "a page's jobgate", Path: path, Args: args, Env: env, LogFile: filepath.Join(m.dir, "log"),
	})
	m.write(t, "/root/audit.log", auditEvent)
	return strings.NewReplacer(shownGitLab, present.GitLab.URL, shownHealth, health, shownServing, serving,
		shownAuditLog, "/root/audit.log", shownDecisions, decisions)
}
