package install_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"
)

// takingDecisionLog are the targets that can have one.
func takingDecisionLog(t *testing.T) []string {
	t.Helper()
	return slices.DeleteFunc(installtest.Names(), func(name string) bool { return !lookup(t, name).TakesDecisionLog })
}

func TestDecisionLog_PodMayWriteToItsFolderAlone(t *testing.T) {
	for _, name := range []string{"kubeadm", "k3s", "rke2"} {
		for _, o := range []install.Options{defaults(t, name), elsewhere(t, name)} {
			t.Run(name+" at "+o.NodeDir, func(t *testing.T) {
				without := pod(t, ofDeployment(t, o, "static-pod.yaml")).Spec
				o.DecisionLog, o.Second = true, true
				for _, file := range []string{"static-pod.yaml", "static-pod-2.yaml"} {
					with := pod(t, ofDeployment(t, o, file)).Spec
					c := with.Containers[0]
					if !slices.Contains(c.Args, "--decision-log=/var/log/jobgate/decisions.jsonl") {
						t.Errorf("%s: arguments are %q", file, c.Args)
					}
					if len(c.VolumeMounts) != len(without.Containers[0].VolumeMounts)+1 || len(with.Volumes) != len(without.Volumes)+1 {
						t.Errorf("%s: mounts are %v, volumes %v", file, c.VolumeMounts, with.Volumes)
					}
					i := slices.IndexFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/var/log/jobgate" && !m.ReadOnly })
					j := slices.IndexFunc(with.Volumes, func(v corev1.Volume) bool {
						return v.HostPath.Path == "/var/log/jobgate" && *v.HostPath.Type == corev1.HostPathDirectory
					})
					if i < 0 || j < 0 || c.VolumeMounts[i].Name != with.Volumes[j].Name {
						t.Errorf("%s: mounts are %v, volumes %v", file, c.VolumeMounts, with.Volumes)
					}
				}
			})
		}
	}
}

func TestDecisionLog_UnitMayWriteToItsFolder(t *testing.T) {
	for _, o := range []install.Options{systemdOptions(t), elsewhere(t, "systemd")} {
		o.Binary, o.DecisionLog = "/usr/bin/jobgate", true
		unit := unitOf(t, o)
		if got := unit["Service.ReadWritePaths"]; !slices.Equal(got, []string{o.NodeDir + "/pki /var/log/jobgate"}) {
			t.Errorf("it may write to %q", got)
		}
		if got := unit["Service.ExecStart"]; len(got) != 1 || !strings.HasSuffix(got[0], " --decision-log="+install.DecisionFile) {
			t.Errorf("it starts %q", got)
		}
	}
}

// The kubelet starts no pod whose folder is missing, and jobgate may not write to one of root.
func TestDecisionLog_FolderIsThereBeforeJobgateStarts(t *testing.T) {
	for _, name := range takingDecisionLog(t) {
		for _, second := range []bool{false, true} {
			o := defaults(t, name)
			o.Binary, o.DecisionLog, o.Second = "/usr/local/bin/jobgate", true, second
			var commands []string
			for _, step := range deploy(t, o).Steps {
				commands = append(commands, step.Commands...)
			}
			find := func(part string) int {
				return slices.IndexFunc(commands, func(c string) bool { return strings.Contains(c, part) })
			}
			folder, start := find("install -d -m 0700 -o "), find("/readyz")
			if folder < 0 || start < 0 || folder > start || !strings.HasSuffix(commands[folder], " /var/log/jobgate") {
				t.Errorf("%s, second %t: %s", name, second, strings.Join(commands, "\n"))
			}
		}
	}
}
