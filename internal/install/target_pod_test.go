package install_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"
)

// jobgateID is the user and group of the image, and of the files in PKIDir.
const jobgateID = 65532

// podProperties are what every target's pod has to have, each by itself.
func podProperties() []struct {
	name string
	got  func(corev1.PodSpec) any
	want any
} {
	container := func(get func(corev1.Container) any) func(corev1.PodSpec) any {
		return func(s corev1.PodSpec) any { return get(s.Containers[0]) }
	}
	return []struct {
		name string
		got  func(corev1.PodSpec) any
		want any
	}{
		{"one container", func(s corev1.PodSpec) any { return len(s.Containers) + len(s.InitContainers) }, 1},
		{"in the node's network", func(s corev1.PodSpec) any { return s.HostNetwork }, true},
		{"not among the node's processes", func(s corev1.PodSpec) any { return s.HostPID || s.HostIPC }, false},
		{"the node's resolver", func(s corev1.PodSpec) any { return s.DNSPolicy }, corev1.DNSDefault},
		{"no token", func(s corev1.PodSpec) any { return *s.AutomountServiceAccountToken }, false},
		{"no variables of services", func(s corev1.PodSpec) any { return *s.EnableServiceLinks }, false},
		{"not root", func(s corev1.PodSpec) any { return *s.SecurityContext.RunAsNonRoot }, true},
		{"the image's user", func(s corev1.PodSpec) any { return *s.SecurityContext.RunAsUser }, int64(jobgateID)},
		{"the image's group", func(s corev1.PodSpec) any { return *s.SecurityContext.RunAsGroup }, int64(jobgateID)},
		{
			"the runtime's seccomp profile", func(s corev1.PodSpec) any { return *s.SecurityContext.SeccompProfile },
			corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		{
			"nothing beyond in the container's security context",
			container(func(c corev1.Container) any { return *c.SecurityContext }),
			corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
		},
		{"among the last to be killed", func(s corev1.PodSpec) any { return s.PriorityClassName }, "system-cluster-critical"},
		{"time to drain", func(s corev1.PodSpec) any { return *s.TerminationGracePeriodSeconds }, int64(60)},
		{"an image that is there is used", container(func(c corev1.Container) any { return c.ImagePullPolicy }), corev1.PullIfNotPresent},
		{"alive by /livez", container(func(c corev1.Container) any { return probed(c.LivenessProbe) }), probe("/livez")},
		{"ready by /readyz", container(func(c corev1.Container) any { return probed(c.ReadinessProbe) }), probe("/readyz")},
		{"no limit on CPU", container(func(c corev1.Container) any { return c.Resources.Limits.Cpu().IsZero() }), true},
	}
}

func probed(p *corev1.Probe) corev1.HTTPGetAction { return *p.HTTPGet }

func probe(path string) corev1.HTTPGetAction {
	return corev1.HTTPGetAction{Host: "127.0.0.1", Port: intstr.FromInt32(9444), Path: path}
}

func TestPods_HaveNoMoreThanTheyNeed(t *testing.T) {
	for _, target := range installtest.Names() {
		spec := read(t, defaults(t, target)).Pod.Spec
		for _, property := range podProperties() {
			t.Run(target+": "+property.name, func(t *testing.T) {
				if diff := cmp.Diff(property.want, property.got(spec)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestPods_ServeFromTheDirectory(t *testing.T) {
	for _, target := range installtest.Names() {
		t.Run(target, func(t *testing.T) {
			o := elsewhere(t, target)
			want := install.ServeArgs(o.NodeDir)
			if target == "talos" {
				// Talos writes the certificates at every boot, so jobgate may not renew them.
				want = slices.DeleteFunc(want, func(arg string) bool { return arg == "--pki="+o.NodeDir+"/pki" })
			}
			if diff := cmp.Diff(want, read(t, o).Pod.Spec.Containers[0].Args); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPods_SeeTheDirectoryAndNothingElse also sees to it that only the certificates can be written, and only where jobgate
// renews them.
func TestPods_SeeTheDirectoryAndNothingElse(t *testing.T) {
	type mount struct {
		hostPath, path string
		hostType       corev1.HostPathType
		readOnly       bool
	}
	for _, target := range installtest.Names() {
		t.Run(target, func(t *testing.T) {
			o := elsewhere(t, target)
			spec := read(t, o).Pod.Spec
			want := []mount{
				{o.NodeDir, o.NodeDir, corev1.HostPathDirectory, true},
				{o.NodeDir + "/pki", o.NodeDir + "/pki", corev1.HostPathDirectory, false},
			}
			if target == "talos" {
				want = []mount{{o.NodeDir, o.NodeDir, corev1.HostPathUnset, true}}
			}
			var got []mount
			for i, m := range spec.Containers[0].VolumeMounts {
				volume := spec.Volumes[i]
				if volume.Name != m.Name || volume.HostPath == nil {
					t.Fatalf("mount %s is not of the folder %+v", m.Name, volume)
				}
				hostType := corev1.HostPathUnset
				if volume.HostPath.Type != nil {
					hostType = *volume.HostPath.Type
				}
				got = append(got, mount{volume.HostPath.Path, m.MountPath, hostType, m.ReadOnly})
			}
			if len(spec.Volumes) != len(got) || !slices.Equal(got, want) {
				t.Errorf("volumes %+v, mounts %+v, want %+v", spec.Volumes, got, want)
			}
		})
	}
}

// TestPods_MemoryIsEnoughForFullCaches repeats the arithmetic of the manifests' comments.
func TestPods_MemoryIsEnoughForFullCaches(t *testing.T) {
	const (
		atRest  = 27_600_000
		jobs    = 65536 * 1146
		refused = 65536 * 684 // two caches; with 256 bytes of GitLab's words each
		reviews = 32 << 20
	)
	for _, target := range installtest.Names() {
		t.Run(target, func(t *testing.T) {
			container := read(t, defaults(t, target)).Pod.Spec.Containers[0]
			// Go writes MiB where Kubernetes writes Mi.
			if len(container.Env) != 1 || container.Env[0].Name != "GOMEMLIMIT" {
				t.Fatalf("environment %+v", container.Env)
			}
			soft := resource.MustParse(container.Env[0].Value[:len(container.Env[0].Value)-1])
			limit := container.Resources.Limits.Memory().Value()
			if need := int64(atRest + jobs + refused + reviews); soft.Value() <= need || limit <= soft.Value()*11/10 {
				t.Errorf("at most %d bytes are in use, garbage is collected up to %d, and the limit is %d", need, soft.Value(), limit)
			}
			request := container.Resources.Requests.Memory().Value()
			if want := int64(atRest + 2*10_000*1146); request < want || request > 2*want {
				t.Errorf("%d bytes are requested; 10,000 jobs take %d", request, want)
			}
		})
	}
}

// TestStaticPods_SayTheirPriority is about what the kubelet cannot look up before there is an API server.
func TestStaticPods_SayTheirPriority(t *testing.T) {
	for _, target := range installtest.Names() {
		t.Run(target, func(t *testing.T) {
			r := read(t, defaults(t, target))
			if r.DaemonSet != nil {
				if r.Pod.Spec.Priority != nil || r.Pod.Spec.ServiceAccountName != "jobgate" || r.Pod.Namespace != "jobgate" {
					t.Errorf("priority %v, service account %q, namespace %q",
						r.Pod.Spec.Priority, r.Pod.Spec.ServiceAccountName, r.Pod.Namespace)
				}
				return
			}
			// The value of system-cluster-critical (k8s.io/kubernetes pkg/apis/scheduling).
			if r.Pod.Spec.Priority == nil || *r.Pod.Spec.Priority != 2000000000 {
				t.Errorf("priority %v", r.Pod.Spec.Priority)
			}
			// A static pod may not name objects of the API, and is seen in a namespace that always exists.
			if r.Pod.Spec.ServiceAccountName != "" || r.Pod.Namespace != "kube-system" {
				t.Errorf("service account %q, namespace %q", r.Pod.Spec.ServiceAccountName, r.Pod.Namespace)
			}
		})
	}
}

func TestDaemonSet_RunsWhereKubeAPIServerRuns(t *testing.T) {
	set := read(t, defaults(t, "kustomize")).DaemonSet
	spec := set.Spec.Template.Spec
	if diff := cmp.Diff([]corev1.Toleration{{Operator: corev1.TolerationOpExists}}, spec.Tolerations); diff != "" {
		t.Errorf("tolerations (-want +got):\n%s", diff)
	}
	want := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
		{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.NodeSelectorOpExists},
	}}}
	got := spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	update := set.Spec.UpdateStrategy
	if update.Type != "RollingUpdate" || update.RollingUpdate.MaxUnavailable.IntValue() != 1 {
		t.Errorf("it is updated by %+v", update)
	}
	if !cmp.Equal(set.Spec.Selector.MatchLabels, set.Spec.Template.Labels) {
		t.Errorf("it selects %v and makes %v", set.Spec.Selector.MatchLabels, set.Spec.Template.Labels)
	}
}

func TestPods_AreProbedWhereTheHealthAddressIsFound(t *testing.T) {
	for _, row := range []struct{ name, address, host string }{
		{"loopback", "127.0.0.1:9444", "127.0.0.1"},
		{"every address", "0.0.0.0:9444", "127.0.0.1"},
		{"no host", ":9444", "127.0.0.1"},
		{"every address of IPv6", "[::]:9444", "::1"},
		{"loopback of IPv6", "[::1]:9444", "::1"},
		{"a name", "localhost:9444", "localhost"},
	} {
		for _, target := range installtest.Names() {
			t.Run(row.name+" for "+target, func(t *testing.T) {
				o := defaults(t, target)
				o.HealthAddress = row.address
				got := read(t, o).Pod.Spec.Containers[0].LivenessProbe.HTTPGet
				if got.Host != row.host || got.Port.IntValue() != 9444 {
					t.Errorf("the kubelet asks %s:%s", got.Host, got.Port.String())
				}
			})
		}
	}
}
