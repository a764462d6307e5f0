package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/process"
)

// node is a control-plane node that is set up by jobgate init and by nothing else.
type node struct {
	dir    string // where init writes
	health string
	args   []string // of init
	log    string   // of jobgate
	stdout string   // of the latest init
	server *controlplane.APIServer
}

// newNode is a node for the site's GitLab and agent 4. A name is unique among nodes; the folder does not exist yet.
func newNode(t *testing.T, name string, more ...string) *node {
	t.Helper()
	set := site.Binaries()
	present, err := site.Jobgate.Configuration()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{dir: filepath.Join(t.TempDir(), "jobgate"), health: freeAddress(t), log: filepath.Join(site.Dir, "jobgate-"+name+".log")}
	n.args = append([]string{
		"init", "--target=systemd", "--gitlab-url=" + present.GitLab.URL, "--gitlab-ca=" + present.GitLab.CAFile,
		"--agent=4=" + ciJobContext, "--node-dir=" + n.dir, "--binary=" + set.Jobgate,
		"--address=" + freeAddress(t), "--health-address=" + n.health,
	}, more...)
	return n
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := process.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// withoutAgents gives init other arguments in the place of the agent.
func (n *node) withoutAgents(more ...string) {
	n.args = append(slices.DeleteFunc(n.args, func(a string) bool { return strings.HasPrefix(a, "--agent=") }), more...)
}

// init runs jobgate init, which may fail.
func (n *node) init(t *testing.T, more ...string) error {
	t.Helper()
	set := site.Binaries()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, set.Jobgate, append(n.args[:len(n.args):len(n.args)], more...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := process.Run(cmd)
	n.stdout = stdout.String()
	if err != nil {
		return fmt.Errorf("%w: %s%s", err, n.stdout, stderr.String())
	}
	return nil
}

// mustInit runs jobgate init, which must succeed.
func (n *node) mustInit(t *testing.T) {
	t.Helper()
	if err := n.init(t); err != nil {
		t.Fatalf("jobgate init failed: %v", err)
	}
}

// startJobgate starts what the written unit does, until the test ends.
func (n *node) startJobgate(t *testing.T) {
	t.Helper()
	unit := n.read(t, "deploy/jobgate.service")
	line := regexp.MustCompile(`(?m)^ExecStart=(.+)$`).FindStringSubmatch(unit)
	if line == nil {
		t.Fatalf("the unit starts nothing:\n%s", unit)
	}
	command := strings.Fields(line[1])
	n.startAndWait(t, process.Spec{
		Name: filepath.Base(n.log), Path: command[0], Args: command[1:], LogFile: n.log, Env: []string{"GORACE=halt_on_error=1"},
	})
}

// startAndWait starts the node's jobgate, waits until it is ready, and stops it when the test ends.
func (n *node) startAndWait(t *testing.T, spec process.Spec) {
	t.Helper()
	child, err := process.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := child.Stop(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ready := func(ctx context.Context) error {
		_, err := process.Get(ctx, http.DefaultClient, "http://"+n.health+"/readyz")
		return err
	}
	if err := child.WaitReady(ctx, ready); err != nil {
		t.Fatal(err)
	}
}

// startAPIServer starts a kube-apiserver with the flags that init printed, and none for authorization besides.
func (n *node) startAPIServer(t *testing.T, name string) {
	t.Helper()
	options := controlplane.APIServerOptions{Name: name}
	for _, line := range regexp.MustCompile(`(?m)^    (--\S+)$`).FindAllStringSubmatch(n.stdout, -1) {
		if file, found := strings.CutPrefix(line[1], "--authorization-config="); found {
			options.AuthorizationConfig = file
		} else {
			options.ExtraArgs = append(options.ExtraArgs, line[1])
		}
	}
	if options.AuthorizationConfig == "" || len(options.ExtraArgs) != 3 {
		t.Fatalf("init printed no four flags:\n%s", n.stdout)
	}
	var err error
	if n.server, err = site.Plane.StartAPIServer(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.server.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func (n *node) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(n.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// restrict adds to the configuration by hand, and waits until that is in force: a job is then denied what it asks for.
func (n *node) restrict(t *testing.T, j job, request string) {
	t.Helper()
	file := filepath.Join(n.dir, "config.yaml")
	text := n.read(t, "config.yaml") +
		"restrictions:\n- name: by hand\n  namespaces: [web-prod]\n  require: {environmentTiers: [production]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually.Succeeds(t, func() error {
		result := try(t, j.Workspace, strings.Fields(request)...)
		if !strings.Contains(result.Stderr, `restriction "by hand" does not let`) {
			return fmt.Errorf("it is not denied by the restriction: %s", result)
		}
		return nil
	})
}

// checkLog fails where jobgate has logged the job's token.
func (n *node) checkLog(t *testing.T, j job) {
	t.Helper()
	log, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "Job logged in") {
		t.Errorf("%s has no login", n.log)
	}
	if strings.Contains(string(log), j.Token) {
		t.Errorf("%s shows the token of job %d", n.log, j.ID)
	}
}

// asked counts the reviews of another webhook by what they are about.
type asked struct {
	mu    sync.Mutex
	users map[string]int
}

func (a *asked) count(user string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.users[user]
}

func (a *asked) add(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users == nil {
		a.users = map[string]int{}
	}
	a.users[user]++
}
