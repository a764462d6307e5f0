//go:build node

package node_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/pkitest"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/e2e/node"
)

const platform = "linux/" + runtime.GOARCH

// The example of the pages: project 150 may use agent 4, whose jobs log in as themselves.
const (
	group         = 23
	project       = 150
	agentsProject = 7
	developer     = 9
	agent         = 4
	agentContext  = "path/to/agent/project:agent-name"
	firstJob      = 1001
)

// site is the one cluster, which all tests share. A test leaves it as it found it.
var site struct {
	programs  binaries.NodeSet
	machine   *node.Machine
	gitlab    *gitlabtest.Server
	clusterCA string // a file
	dir       string
	jobs      atomic.Int64
}

// build makes the cluster, without jobgate.
func build(ctx context.Context) error {
	if err := json.Unmarshal([]byte(os.Getenv(programsVariable)), &site.programs); err != nil {
		return fmt.Errorf("read what was built: %w", err)
	}
	if err := node.Prepare(ctx); err != nil {
		return err
	}
	site.dir = filepath.Join(node.Folder(), "site")
	if err := os.Mkdir(site.dir, 0o755); err != nil {
		return err
	}
	machine, err := node.NewMachine(ctx, 1, site.programs)
	if err != nil {
		return err
	}
	site.machine = machine
	if err := errors.Join(startGitLab(), equip(machine)); err != nil {
		return err
	}
	if err := errors.Join(machine.Boot(ctx), machine.ImportControlPlane(ctx), importJobgate(ctx, machine), importTools(ctx, machine)); err != nil {
		return err
	}
	if err := machine.CreateCluster(ctx); err != nil {
		return err
	}
	ca, err := os.ReadFile(machine.Path("/etc/kubernetes/pki/ca.crt"))
	if err != nil {
		return err
	}
	site.clusterCA = filepath.Join(site.dir, "cluster-ca.crt")
	return os.WriteFile(site.clusterCA, ca, 0o600)
}

// startGitLab serves GitLab at the address that its name has on machines.
func startGitLab() error {
	authority, err := pkitest.NewAuthority("GitLab's CA")
	if err != nil {
		return err
	}
	certificate, err := authority.Server(node.GitLabName, func(c *x509.Certificate) { c.DNSNames = []string{node.GitLabName} })
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", node.GitLabAddress+":443")
	if err != nil {
		return err
	}
	listener = tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})
	site.gitlab, err = gitlabtest.Start(gitlabtest.Options{Listener: listener, Instance: gitlabInstance()})
	return errors.Join(err, site.machine.Seed("/root/gitlab-ca.crt", authority.PEM(), 0o644))
}

func gitlabInstance() gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: group, Path: "path"}, {ID: 25, Parent: group, Path: "path/to"}, {ID: 27, Parent: 25, Path: "path/to/agent"}},
		Projects: []gitlabtest.Project{
			{ID: agentsProject, Group: 27, Path: "path/to/agent/project"},
			{ID: project, Group: 25, Path: "path/to/project", Environments: []gitlabtest.Environment{
				{Name: "prod", Slug: "prod", Tier: "production"}, {Name: "staging", Slug: "staging", Tier: "staging"},
			}},
		},
		Users: []gitlabtest.User{{ID: developer, Username: "jdoe", Access: map[int64]int{project: 30}}},
		Agents: []gitlabtest.Agent{{
			ID: agent, Name: "agent-name", Project: agentsProject,
			Config: "ci_access:\n  projects:\n  - id: path/to/project\n    access_as: {ci_job: {}}\n",
		}},
	}
}

// equip puts jobgate's program on the disk, as an admin does who has checked a release.
func equip(m *node.Machine) error {
	program, err := os.ReadFile(filepath.Join(imageFolder(site.programs.Repository, version), platform, "jobgate"))
	if err != nil {
		return err
	}
	return m.Seed("/usr/local/bin/jobgate", program, 0o755)
}

// importJobgate brings both versions of the image, as a pull from a registry would.
func importJobgate(ctx context.Context, m *node.Machine) error {
	for _, v := range []string{version, nextVersion} {
		layout := filepath.Join(imageFolder(site.programs.Repository, v), "image")
		if err := m.ImportLayout(ctx, layout, "ghcr.io/jobgate/jobgate"); err != nil {
			return err
		}
	}
	return nil
}

const toolsImage = "tools.example.com/busybox:1"

// importTools brings what the pods of CI jobs run.
func importTools(ctx context.Context, m *node.Machine) error {
	return m.ImportImage(ctx, node.Image{
		Name: toolsImage, Program: node.Busybox(site.programs.Repository),
		Links: strings.Fields("sh cat echo tar sleep ls nc httpd wget seq date mkdir rm test head tail tee"),
	})
}

// job is a running CI job with a shell, which uses the cluster as docs/ci.md says.
type job struct {
	*kubectl.Workspace
	gitlabtest.Job
}

func runJob(t *testing.T, j gitlabtest.Job) job {
	t.Helper()
	j.ID, j.Status, j.Project, j.User = firstJob+site.jobs.Add(1)-1, "running", project, developer
	j.Pipeline.ID, j.Pipeline.Ref = j.ID+1e6, "main"
	if err := site.gitlab.Update(func(w *gitlabtest.Instance) { w.Jobs = append(w.Jobs, j) }); err != nil {
		t.Fatal(err)
	}
	present := site.gitlab.Instance()
	j = *present.Job(j.ID)
	kubeconfig, err := site.gitlab.Kubeconfig(j.ID, "https://kas.gitlab.example.com/k8s-proxy/")
	if err != nil {
		t.Fatal(err)
	}
	w := workspace(t, kubeconfig)
	succeed(t, w, "config", "set-cluster", "gitlab", "--server="+serverURL(), "--certificate-authority="+site.clusterCA)
	succeed(t, w, "config", "use-context", agentContext)
	return job{Workspace: w, Job: j}
}

func serverURL() string { return "https://" + site.machine.Address + ":6443" }

// admin is the cluster's administrator, on another computer.
func admin(t *testing.T) *kubectl.Workspace {
	t.Helper()
	kubeconfig, err := os.ReadFile(site.machine.Path("/etc/kubernetes/admin.conf"))
	if err != nil {
		t.Fatal(err)
	}
	w := workspace(t, kubeconfig)
	// The name in it is known to machines alone.
	succeed(t, w, "config", "set-cluster", "kubernetes", "--server="+serverURL())
	return w
}

func workspace(t *testing.T, kubeconfig []byte) *kubectl.Workspace {
	t.Helper()
	w, err := kubectl.New(t.TempDir(), site.programs.Kubectl)
	if err != nil {
		t.Fatal(err)
	}
	w.Limit = bootPatience
	if err := os.WriteFile(w.Kubeconfig, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// succeed runs kubectl, which must succeed, and returns its standard output.
func succeed(t *testing.T, w *kubectl.Workspace, args ...string) string {
	t.Helper()
	result := try(t, w, args...)
	if !result.OK() {
		t.Fatalf("kubectl %s: %s", strings.Join(args, " "), result)
	}
	return result.Stdout
}

// try runs kubectl and lets it fail.
func try(t *testing.T, w *kubectl.Workspace, args ...string) kubectl.Result {
	t.Helper()
	result, err := w.Run(lasting(t), args...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func apply(t *testing.T, w *kubectl.Workspace, manifest string) {
	t.Helper()
	result, err := w.Apply(lasting(t), manifest)
	if err != nil {
		t.Fatal(err)
	}
	if !result.OK() {
		t.Fatalf("kubectl apply: %s", result)
	}
}

// typed runs what an admin types as root on the machine.
func typed(t *testing.T, script string) string {
	t.Helper()
	return typedOn(t, site.machine, script)
}

func typedOn(t *testing.T, m *node.Machine, script string) string {
	t.Helper()
	out, err := m.Run(lasting(t), script)
	if err != nil {
		t.Fatalf("%s: %s\n%v", m.Name, script, err)
	}
	return out
}

// lasting is for commands, which tests also run while they clean up.
func lasting(t *testing.T) context.Context {
	t.Helper()
	return context.WithoutCancel(t.Context())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// until tries again for minutes: a machine that starts takes its time.
func until(t *testing.T, try func() error) error {
	t.Helper()
	var err error
	for deadline := time.Now().Add(bootPatience); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("still, after %s: %w", bootPatience, err)
}

// answer is nil if the user of the kubeconfig gets one from the API server.
func answer(t *testing.T, kubeconfig string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(lasting(t), site.programs.Kubectl, append([]string{"--kubeconfig=" + kubeconfig, "--request-timeout=10s"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}
