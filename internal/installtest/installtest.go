// Package installtest reads what init writes for a target as that target does: strictly, with the keys that it documents
// and no others, and says what is in a folder. It is for tests, which compare the outcome between targets and with a real API server.
//
// It knows file formats of others. It must not know how init makes the files.
package installtest

import (
	"fmt"
	"path"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/install"
)

// Reading is what a target's files come to.
type Reading struct {
	// Pod is jobgate's, with its namespace; of a DaemonSet, the template.
	Pod corev1.PodTemplateSpec
	// DaemonSet is nil for a static pod.
	DaemonSet *appsv1.DaemonSet
	// Flags are those that the files add to kube-apiserver's.
	Flags []install.Flag
	// Mounts are the folders that the files have mounted into kube-apiserver's pod. A kube-apiserver that is no pod, or whose
	// pod the target does not make, needs none.
	Mounts []Mount
	// Authorizers are those of the file for authorization-config, if the target makes it itself (talos); otherwise none.
	Authorizers []apiserverv1.AuthorizerConfiguration
	// NodeFiles are files that the target writes on the node (talos).
	NodeFiles []NodeFile
}

// Mount is a folder of the node's in kube-apiserver's pod.
type Mount struct {
	HostPath, MountPath string
	ReadOnly            bool
}

// Names are the targets that Read knows.
func Names() []string { return []string{"kubeadm", "k3s", "rke2", "talos", "kustomize"} }

// Read reads the files that init wrote for the target.
func Read(target string, files []install.File) (*Reading, error) {
	byName := make(map[string][]byte, len(files))
	for _, f := range files {
		byName[path.Base(f.Path)] = f.Content
	}
	r := new(Reading)
	var err error
	switch target {
	case "kubeadm":
		err = r.readAll(byName, map[string]reader{"static-pod.yaml": r.staticPod, "cluster-configuration.yaml": r.kubeadm})
	case "k3s", "rke2":
		err = r.readAll(byName, map[string]reader{"static-pod.yaml": r.staticPod, "config.yaml": r.rancher(target)})
	case "talos":
		err = r.readAll(byName, map[string]reader{"patch.yaml": r.talos})
	case "kustomize":
		err = r.readAll(byName, map[string]reader{
			"kustomization.yaml": r.kustomization, "namespace.yaml": typed[corev1.Namespace],
			"serviceaccount.yaml": typed[corev1.ServiceAccount], "daemonset.yaml": r.daemonSet,
			"kube-apiserver.flags": r.flagLines,
		})
	default:
		err = fmt.Errorf("no target %q is known here", target)
	}
	return r, err
}

type reader func([]byte) error

// readAll wants exactly the files that there are readers for.
func (r *Reading) readAll(files map[string][]byte, readers map[string]reader) error {
	for name := range files {
		if readers[name] == nil {
			return fmt.Errorf("%s is no file of this target's", name)
		}
	}
	for name, read := range readers {
		content, ok := files[name]
		if !ok {
			return fmt.Errorf("%s is missing", name)
		}
		if err := read(content); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	return nil
}

// typed decodes a Kubernetes object, for its own sake.
func typed[T any](text []byte) error {
	var object T
	return kyaml.UnmarshalStrict(text, &object)
}

func (r *Reading) staticPod(text []byte) error {
	var pod corev1.Pod
	if err := kyaml.UnmarshalStrict(text, &pod); err != nil {
		return err
	}
	if pod.APIVersion != "v1" || pod.Kind != "Pod" {
		return fmt.Errorf("it is a %s of %s and no Pod", pod.Kind, pod.APIVersion)
	}
	r.Pod = corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}
	return nil
}

func (r *Reading) daemonSet(text []byte) error {
	r.DaemonSet = new(appsv1.DaemonSet)
	if err := kyaml.UnmarshalStrict(text, r.DaemonSet); err != nil {
		return err
	}
	r.Pod = r.DaemonSet.Spec.Template
	r.Pod.Namespace = r.DaemonSet.Namespace
	return nil
}
