package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/installtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// target is what init writes for a kind of control plane, with the directory where the tests' own jobgate has its
// kubeconfigs. The certificates' content does not matter here.
func target(t *testing.T, name string) (install.Options, install.Deployment) {
	t.Helper()
	target, err := install.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	o := install.Options{
		Target: name, NodeDir: filepath.Dir(site.Jobgate.APIServer("").AuthorizationConfig), Dir: t.TempDir(),
		GitLabURL: "https://gitlab.example.com", Agents: []install.Agent{{ID: 4}},
		Address: "127.0.0.1:9443", HealthAddress: "127.0.0.1:9444", Image: "ghcr.io/jobgate/jobgate:v1.2.3",
		PKI: map[string][]byte{certs.CAFile: []byte("1\n"), certs.ServingFile: []byte("2\n"), certs.ClientFile: []byte("3\n")},
	}
	d, err := target.Deploy(o)
	if err != nil {
		t.Fatal(err)
	}
	return o, d
}

func readTarget(t *testing.T, name string) *installtest.Reading {
	t.Helper()
	_, d := target(t, name)
	r, err := installtest.Read(name, d.Files)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTargets_FlagsAreThoseOfTheAPIServerUnderTest ties what init writes to what all other tests run with.
func TestTargets_FlagsAreThoseOfTheAPIServerUnderTest(t *testing.T) {
	running := site.Jobgate.APIServer("")
	want := []install.Flag{
		{Name: "authentication-token-webhook-cache-ttl", Value: running.TokenWebhook.CacheTTL.String()},
		{Name: "authentication-token-webhook-config-file", Value: running.TokenWebhook.ConfigFile},
		{Name: "authentication-token-webhook-version", Value: running.TokenWebhook.Version},
		{Name: "authorization-config", Value: running.AuthorizationConfig},
	}
	for _, name := range installtest.Names() {
		t.Run(name, func(t *testing.T) {
			r := readTarget(t, name)
			want := want
			if name == "talos" {
				// Talos sets the fourth, for a file that it makes of the same authorizers.
				want = want[:3]
				wantAuthorizers(t, running.AuthorizationConfig, r.Authorizers)
			}
			got := slices.SortedFunc(slices.Values(r.Flags), func(a, b install.Flag) int { return strings.Compare(a.Name, b.Name) })
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flags (-the tests' +the target's):\n%s", diff)
			}
		})
	}
}

func wantAuthorizers(t *testing.T, file string, got []apiserverv1.AuthorizerConfiguration) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want apiserverv1.AuthorizationConfiguration
	if err := yaml.UnmarshalStrict(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Authorizers, got); diff != "" {
		t.Errorf("authorizers (-the tests' +the target's):\n%s", diff)
	}
}

// TestTargets_StaticPodsAreAccepted shows each static pod to the API server as the kubelet does, as a mirror pod: that may
// name no service account and no secret, and its priority has to be what the server computes.
func TestTargets_StaticPodsAreAccepted(t *testing.T) {
	for _, name := range []string{"kubeadm", "k3s", "rke2", "talos"} {
		t.Run(name, func(t *testing.T) {
			template := readTarget(t, name).Pod
			template.Annotations = map[string]string{
				corev1.MirrorPodAnnotationKey: "0123456789abcdef", "kubernetes.io/config.source": "file",
			}
			template.Name, template.Spec.NodeName = "jobgate-node", "node"
			got := dryRunPod(t, template)
			if got.Spec.PriorityClassName != "system-cluster-critical" || got.Spec.ServiceAccountName != "" {
				t.Errorf("priority class %q, service account %q", got.Spec.PriorityClassName, got.Spec.ServiceAccountName)
			}
		})
	}
}

// dryRunPod has the API server admit a pod, without a warning, and returns what it would store.
func dryRunPod(t *testing.T, template corev1.PodTemplateSpec) corev1.Pod {
	t.Helper()
	w := admin(t)
	result := try(t, w, "create", "--dry-run=server", "--validate=strict", "--output=json", "--filename="+podFile(t, template))
	if !result.OK() || result.Stderr != "" {
		t.Fatalf("the API server does not take the pod as it is: %s", result)
	}
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(result.Stdout), &pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func podFile(t *testing.T, template corev1.PodTemplateSpec) string {
	t.Helper()
	pod := corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.APIVersion, pod.Kind = "v1", "Pod"
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, t.TempDir(), "pod.json", text)
}

func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTargets_StaticPodFilesAreValid has kubectl check the files as they are, strictly: duplicate and unknown fields.
func TestTargets_StaticPodFilesAreValid(t *testing.T) {
	apply(t, "{apiVersion: v1, kind: ServiceAccount, metadata: {namespace: kube-system, name: default}}")
	w := admin(t)
	putBack(t, w, "delete", "serviceaccount", "default", "--namespace=kube-system")
	for _, name := range []string{"kubeadm", "k3s", "rke2"} {
		t.Run(name, func(t *testing.T) {
			_, d := target(t, name)
			for _, f := range d.Files {
				if filepath.Base(f.Path) != "static-pod.yaml" {
					continue
				}
				file := writeFile(t, t.TempDir(), "static-pod.yaml", f.Content)
				result := try(t, w, "apply", "--dry-run=server", "--validate=strict", "--filename="+file)
				if !result.OK() || result.Stdout != "pod/jobgate created (server dry run)\n" || result.Stderr != "" {
					t.Errorf("kubectl does not take it as it is: %s", result)
				}
			}
		})
	}
}

// putBack runs kubectl when the test is over.
func putBack(t *testing.T, w *kubectl.Workspace, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		if result, err := w.Run(context.Background(), args...); err != nil || !result.OK() {
			t.Errorf("kubectl %s: %v: %s", args[0], err, result)
		}
	})
}

// TestTargets_KustomizationApplies applies it for good, as a dry run cannot put anything into a namespace that it has not
// made, and has the API server admit the pods that a DaemonSet controller would make. The namespace stays: nothing here
// would finish its deletion.
func TestTargets_KustomizationApplies(t *testing.T) {
	_, d := target(t, "kustomize")
	dir := t.TempDir()
	for _, f := range d.Files {
		writeFile(t, dir, filepath.Base(f.Path), f.Content)
	}
	w := admin(t)
	putBack(t, w, "delete", "daemonset,serviceaccount", "jobgate", "--namespace=jobgate")
	if result := try(t, w, "apply", "--validate=strict", "--kustomize="+dir); !result.OK() || result.Stderr != "" {
		t.Fatalf("kubectl does not take it as it is: %s", result)
	}
	const unchanged = " unchanged (server dry run)\n"
	want := "namespace/jobgate" + unchanged + "serviceaccount/jobgate" + unchanged + "daemonset.apps/jobgate" + unchanged
	if got := succeed(t, w, "apply", "--validate=strict", "--dry-run=server", "--kustomize="+dir); got != want {
		t.Errorf("applied again it says %q, not %q", got, want)
	}
	template := readTarget(t, "kustomize").Pod
	template.Name = "jobgate"
	dryRunPod(t, template)

	// What the label of the namespace is for.
	const level = "pod-security.kubernetes.io/enforce="
	succeed(t, w, "label", "namespace", "jobgate", "--overwrite", level+"baseline")
	putBack(t, w, "label", "namespace", "jobgate", "--overwrite", level+"privileged")
	result := try(t, w, "create", "--dry-run=server", "--filename="+podFile(t, template))
	for reason, since := range map[string]feature{
		"host namespaces": {}, "hostPath volumes": {},
		"probe or lifecycle host": {since: "1.34", name: "hosts of probes in Pod Security"},
	} {
		t.Run(reason, func(t *testing.T) {
			needs(t, since)
			if result.OK() || !strings.Contains(result.Stderr, reason) {
				t.Errorf("under the level baseline, %s should be what keeps it out: %s", reason, result)
			}
		})
	}
}
