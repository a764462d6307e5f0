//go:build node

package node_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/docs"
)

// local are the flags that the page describes further down and that this GitLab, whose CA no image has, requires.
const local = " --gitlab-ca=/root/gitlab-ca.crt"

// The steps of docs/install.md for a kubeadm cluster, as an admin types them who has read nothing else. Then a job deploys, and the
// way back leads back.
func TestInstall_AsThePageSays(t *testing.T) {
	uninstall(t)
	before := typed(t, "cat /etc/kubernetes/manifests/kube-apiserver.yaml")
	install(t)
	if again := typed(t, pageCommand(t)+local); !strings.Contains(again, "\nNothing changed.\n") {
		t.Errorf("the second init:\n%s", again)
	}
	grant(t)
	j := runJob(t, gitlabtest.Job{Environment: "prod"})
	if who := succeed(t, j.Workspace, "auth", "whoami"); !strings.Contains(who, fmt.Sprintf("gitlab:ci_job:%d", j.ID)) {
		t.Errorf("the job is\n%s", who)
	}
	deployWeb(t, j)
	succeed(t, j.Workspace, "delete", "deployment/web", "--namespace=web")

	begin := time.Now()
	rollBack(t)
	t.Logf("rolled back in %s", time.Since(begin).Round(time.Second))
	if after := typed(t, "cat /etc/kubernetes/manifests/kube-apiserver.yaml"); after != before {
		t.Errorf("after the rollback kube-apiserver's manifest is\n%s\nand was\n%s", after, before)
	}
	if result := try(t, j.Workspace, "get", "pods", "--namespace=web"); result.OK() || !strings.Contains(result.Stderr, "Unauthorized") {
		t.Errorf("after the rollback the job is not refused: %s", result)
	}
}

// uninstall is the page's section, if another test has installed jobgate.
func uninstall(t *testing.T) {
	t.Helper()
	if _, err := site.machine.Run(t.Context(), "test -e "+first.manifest); err == nil {
		rollBack(t)
		typed(t, "rm -r /etc/kubernetes/jobgate")
	}
}

// installed makes sure that jobgate runs as docs/install.md says.
func installed(t *testing.T) {
	t.Helper()
	if _, err := site.machine.Run(t.Context(), "test -e "+first.manifest); err != nil {
		install(t)
		grant(t)
	}
}

// install types the page.
func install(t *testing.T) {
	t.Helper()
	initialize, steps := pageSteps(t)
	begin := time.Now()
	printed := typed(t, initialize+local)
	for _, step := range steps {
		if !strings.Contains(printed, strings.TrimSpace(step.Text)) {
			t.Errorf("init did not print step %s of the page, but\n%s", step.Number, printed)
		}
		at := time.Now()
		out := typed(t, step.Commands())
		t.Logf("step %s: %s", step.Number, time.Since(at).Round(time.Second))
		if strings.Contains(step.Text, "jobgate check") {
			t.Log("\n" + out)
		}
	}
	t.Logf("installed in %s", time.Since(begin).Round(time.Second))
}

// rollBack is the page's paragraph: "repeat the second step with the copy in /root/cluster-configuration.yaml, and the fourth step on
// each node. Then remove /etc/kubernetes/manifests/jobgate.yaml everywhere."
func rollBack(t *testing.T) {
	t.Helper()
	_, steps := pageSteps(t)
	const written = "/etc/kubernetes/jobgate/deploy/cluster-configuration.yaml"
	second := strings.ReplaceAll(steps[1].Commands(), written, "/root/cluster-configuration.yaml")
	for _, script := range []string{second, steps[3].Commands(), "rm " + first.manifest} {
		typed(t, script)
	}
	must(t, site.machine.Eventually(lasting(t), "! curl --silent http://127.0.0.1:9444/livez"))
}

// step is one of those that init prints.
type step struct {
	Number string
	Text   string
}

// Commands are the lines that an admin copies.
func (s step) Commands() string {
	var commands strings.Builder
	for line := range strings.Lines(s.Text) {
		if command, ok := strings.CutPrefix(line, "       "); ok {
			commands.WriteString(command)
		}
	}
	return commands.String()
}

var stepStart = regexp.MustCompile(`(?m)^([0-9]+)\. `)

// pageSteps are what the page shows for an existing kubeadm cluster: the command, and what that prints.
func pageSteps(t *testing.T) (initialize string, steps []step) {
	t.Helper()
	for _, b := range installPage(t).Blocks {
		if b.Is("sh", "init", "kubeadm", "existing") {
			initialize = strings.TrimSpace(b.Text)
		}
		if initialize == "" || !b.Is("text", "printed", "kubeadm") {
			continue
		}
		return initialize, stepsIn(b.Text)
	}
	t.Fatal("the page shows no installation on an existing kubeadm cluster")
	return "", nil
}

func pageCommand(t *testing.T) string {
	t.Helper()
	initialize, _ := pageSteps(t)
	return initialize
}

// stepsIn are those that init has printed.
func stepsIn(printed string) (steps []step) {
	printed, _, _ = strings.Cut(printed, "\nOn further control-plane nodes")
	starts := stepStart.FindAllStringSubmatchIndex(printed, -1)
	for i, at := range starts {
		end := len(printed)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		steps = append(steps, step{Number: printed[at[2]:at[3]], Text: printed[at[0]:end]})
	}
	return steps
}

func installPage(t *testing.T) *docs.Page {
	t.Helper()
	pages, err := docs.Pages(site.programs.Repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if p.Path == "docs/install.md" {
			return p
		}
	}
	t.Fatal("there is no docs/install.md")
	return nil
}
