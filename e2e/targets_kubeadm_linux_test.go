package e2e_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/install"
)

// manifests are the static pods' of the machine.
func (m *machine) manifests(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(filepath.Join(m.files.kubernetes, "manifests")), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(m.files.kubernetes, "manifests", name))
		found[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// printedCommands are those of a step, by its number.
func printedCommands(t *testing.T, printed, step string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)\n` + step + `\. (?:.*\n)(?:   .*\n)*`).FindString(printed)
	var commands []string
	for line := range strings.Lines(found) {
		if command, ok := strings.CutPrefix(line, "       "); ok {
			commands = append(commands, command)
		}
	}
	if len(commands) == 0 {
		t.Fatalf("there is no step %s:\n%s", step, printed)
	}
	return strings.Join(commands, "")
}

// TestKubeadm_StepsForAnExistingCluster types what init prints, on a node of a cluster that kubeadm has made. jobgate is
// not started: that is what the first step would wait for.
func TestKubeadm_StepsForAnExistingCluster(t *testing.T) {
	m := kubeadmMachine(t)
	before := m.manifests(t)
	initialize := "jobgate init --target=kubeadm --gitlab-url=" + shownGitLab + " --agent=4"
	printed := m.must(t, initialize)

	m.must(t, printedCommands(t, printed, "2"))
	exported := string(mustRead(t, filepath.Join(m.files.home, "cluster-configuration.yaml")))
	if diff := cmp.Diff(before, m.manifests(t)); diff != "" {
		t.Errorf("the cluster's configuration changed manifests (-before +after):\n%s", diff)
	}
	announced := m.must(t, printedCommands(t, printed, "3"))
	m.must(t, printedCommands(t, printed, "4"))
	after := m.manifests(t)
	const server = "kube-apiserver.yaml"
	checkAnnounced(t, announced, before[server], after[server])
	checkServerPod(t, before[server], after[server])
	if diff := cmp.Diff(exceptFor(before, server), exceptFor(after, server)); diff != "" {
		t.Errorf("manifests of others (-before +after):\n%s", diff)
	}

	// On the next node, and when an admin begins again.
	printed = m.must(t, initialize)
	if !strings.Contains(printed, "\nNothing changed.\n") {
		t.Errorf("the second init: %s", printed)
	}
	m.must(t, printedCommands(t, printed, "2"))
	if diff := m.must(t, printedCommands(t, printed, "3")); strings.Contains(diff, "\n---") {
		t.Errorf("the second time kubeadm would change:\n%s", diff)
	}
	m.must(t, printedCommands(t, printed, "4"))
	if diff := cmp.Diff(after, m.manifests(t)); diff != "" {
		t.Errorf("manifests (-once +twice):\n%s", diff)
	}

	// The way back.
	m.write(t, "/root/before.yaml", exported)
	file := "/etc/kubernetes/jobgate/deploy/cluster-configuration.yaml"
	m.must(t, strings.ReplaceAll(printedCommands(t, printed, "2"), file, "/root/before.yaml"))
	m.must(t, printedCommands(t, printed, "4"))
	if diff := cmp.Diff(before, m.manifests(t)); diff != "" {
		t.Errorf("manifests (-before +back):\n%s", diff)
	}
}

func mustRead(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// checkAnnounced compares what kubeadm upgrade diff has printed with what happened.
func checkAnnounced(t *testing.T, printed, before, after string) {
	t.Helper()
	_, diff, found := strings.Cut(printed, "\n--- /etc/kubernetes/manifests/kube-apiserver.yaml\n")
	if !found || strings.Contains(diff, "\n--- ") {
		t.Errorf("kubeadm upgrade diff is not about kube-apiserver alone:\n%s", printed)
	}
	goes, comes := linesWithout(before, after), linesWithout(after, before)
	var announced struct{ goes, comes []string }
	for _, line := range strings.Split(diff, "\n") {
		if text, ok := strings.CutPrefix(line, "-"); ok {
			announced.goes = append(announced.goes, text)
		} else if text, ok := strings.CutPrefix(line, "+"); ok && !strings.HasPrefix(line, "+++ ") {
			announced.comes = append(announced.comes, text)
		}
	}
	slices.Sort(announced.goes)
	slices.Sort(announced.comes)
	if diff := cmp.Diff(announced.goes, goes); diff != "" {
		t.Errorf("lines that go (-announced +actual):\n%s", diff)
	}
	if diff := cmp.Diff(announced.comes, comes); diff != "" {
		t.Errorf("lines that come (-announced +actual):\n%s", diff)
	}
}

// linesWithout are the sorted lines of a but for those that b has as often.
func linesWithout(a, b string) []string {
	lines := strings.Split(a, "\n")
	for _, line := range strings.Split(b, "\n") {
		if i := slices.Index(lines, line); i >= 0 {
			lines = slices.Delete(lines, i, i+1)
		}
	}
	slices.Sort(lines)
	return lines
}

// checkServerPod compares what kube-apiserver is started with.
func checkServerPod(t *testing.T, before, after string) {
	t.Helper()
	var old, present corev1.Pod
	for text, pod := range map[string]*corev1.Pod{before: &old, after: &present} {
		if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
			t.Fatal(err)
		}
	}
	const nodeDir = "/etc/kubernetes/jobgate"
	var flags []string
	for _, f := range install.APIServerFlags(nodeDir) {
		flags = append(flags, f.String())
	}
	slices.Sort(flags)
	was, is := old.Spec.Containers[0], present.Spec.Containers[0]
	if diff := cmp.Diff(flags, without(is.Command, was.Command)); diff != "" {
		t.Errorf("flags that come on top (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"--authorization-mode=Node,RBAC"}, without(was.Command, is.Command)); diff != "" {
		t.Errorf("flags that go (-want +got):\n%s", diff)
	}
	for _, kept := range []string{"--advertise-address=192.0.2.7", "--secure-port=7443", "--audit-log-path=/var/log/kubernetes/audit.log"} {
		if !slices.Contains(is.Command, kept) {
			t.Errorf("%s is not among %q", kept, is.Command)
		}
	}
	mounts := []corev1.VolumeMount{{Name: "jobgate", MountPath: nodeDir, ReadOnly: true}}
	if diff := cmp.Diff(mounts, added(was.VolumeMounts, is.VolumeMounts)); diff != "" {
		t.Errorf("mounts that come on top (-want +got):\n%s", diff)
	}
}

// exceptFor are all files but one.
func exceptFor(files map[string]string, name string) map[string]string {
	rest := maps.Clone(files)
	delete(rest, name)
	return rest
}
