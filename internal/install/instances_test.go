package install_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"
)

// takingSecond are the targets that can have two instances.
func takingSecond() []string {
	return slices.DeleteFunc(installtest.Names(), func(name string) bool {
		target, err := install.Lookup(name)
		return err != nil || !target.TakesSecond
	})
}

// ofDeployment is the content of one of its files.
func ofDeployment(t *testing.T, o install.Options, name string) string {
	t.Helper()
	for _, f := range deploy(t, o).Files {
		if path.Base(f.Path) == name {
			return string(f.Content)
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// The two pods differ in what has to differ, and in nothing else.
func TestInstances_SecondPodHasAnotherNameAndHealthPort(t *testing.T) {
	for _, name := range []string{"kubeadm", "k3s", "rke2"} {
		for _, o := range []install.Options{defaults(t, name), elsewhere(t, name)} {
			t.Run(name+" at "+o.NodeDir, func(t *testing.T) {
				alone := ofDeployment(t, o, "static-pod.yaml")
				o.Second = true
				if diff := cmp.Diff(alone, ofDeployment(t, o, "static-pod.yaml")); diff != "" {
					t.Errorf("the first is another one than alone:\n%s", diff)
				}
				first, second := pod(t, alone), pod(t, ofDeployment(t, o, "static-pod-2.yaml"))
				health, err := install.SecondHealthAddress(o.HealthAddress)
				must(t, err)
				want := first.DeepCopy()
				want.Name = "jobgate-2"
				container := &want.Spec.Containers[0]
				container.Args = append(container.Args, "--health-address="+health)
				for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
					probe.HTTPGet.Port = intstr.FromInt32(probe.HTTPGet.Port.IntVal + 1)
				}
				if diff := cmp.Diff(want, second); diff != "" {
					t.Errorf("the second (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func pod(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	must(t, yaml.UnmarshalStrict([]byte(text), p))
	return p
}

func TestInstances_SecondUnitHasAnotherHealthPort(t *testing.T) {
	o := systemdOptions(t)
	alone := ofDeployment(t, o, "jobgate.service")
	o.Second = true
	if diff := cmp.Diff(alone, ofDeployment(t, o, "jobgate.service")); diff != "" {
		t.Errorf("the first is another one than alone:\n%s", diff)
	}
	command := "ExecStart=" + strings.Join(append([]string{o.Binary}, install.ServeArgs(o.NodeDir)...), " ")
	want := strings.Replace(alone, command+"\n", command+" --health-address=127.0.0.1:9445\n", 1)
	if diff := cmp.Diff(want, ofDeployment(t, o, "jobgate-2.service")); diff != "" || want == alone {
		t.Errorf("the second (-want +got):\n%s", diff)
	}
}

func TestInstances_TwoShareTheAddress(t *testing.T) {
	for _, name := range takingSecond() {
		for _, second := range []bool{false, true} {
			o := defaults(t, name)
			o.Second = second
			files, err := install.Common(o)
			must(t, err)
			i := slices.IndexFunc(files, func(f install.File) bool { return f.Path == install.ConfigFile })
			c, err := config.Parse(install.ConfigFile, files[i].Content)
			must(t, err)
			if c.Serving.ReusePort != second {
				t.Errorf("%s: serving.reusePort is %t", name, c.Serving.ReusePort)
			}
		}
	}
}

// One is stopped only after the other one is ready: in the commands, the first one's readiness comes before the second one's stop.
func TestInstances_StepsStartOneAfterTheOther(t *testing.T) {
	for _, row := range []struct{ target, stopFirst, stopSecond string }{
		{target: "kubeadm", stopFirst: "rm -f /etc/kubernetes/manifests/jobgate.yaml", stopSecond: "rm -f /etc/kubernetes/manifests/jobgate-2.yaml"},
		{target: "systemd", stopFirst: "systemctl restart jobgate.service", stopSecond: "systemctl restart jobgate-2.service"},
	} {
		t.Run(row.target, func(t *testing.T) {
			o := systemdOptions(t)
			o.Target, o.Second = row.target, true
			var commands []string
			for _, step := range deploy(t, o).Steps {
				commands = append(commands, step.Commands...)
			}
			find := func(part string) int {
				i := slices.IndexFunc(commands, func(c string) bool { return strings.Contains(c, part) })
				if i < 0 {
					t.Fatalf("no command has %q:\n%s", part, strings.Join(commands, "\n"))
				}
				return i
			}
			order := []int{
				find(row.stopFirst), find("until curl --silent --fail http://127.0.0.1:9444/readyz"),
				find(row.stopSecond), find("until curl --silent --fail http://127.0.0.1:9445/readyz"),
			}
			if !slices.IsSorted(order) {
				t.Errorf("the order is %v:\n%s", order, strings.Join(commands, "\n"))
			}
		})
	}
}
