package install

import (
	"fmt"
	"slices"
	"strings"
)

// Target is a kind of control plane.
type Target struct {
	// Name is what --target takes.
	Name string
	// Summary is half a line of help: what runs where.
	Summary string
	// NodeDir is where the directory lies on a node unless the admin says otherwise; absolute.
	NodeDir string
	// Dir is where init writes it unless the admin says otherwise; empty for NodeDir itself, where init runs on the node.
	Dir string
	// UID and GID are whom jobgate runs as, and who therefore owns its keys.
	UID, GID int
	// User is the node's user of that name, whose ids count instead where the node knows it; empty for none.
	User string
	// CarriesKeys says that Deploy needs Options.PKI.
	CarriesKeys bool
	// TakesClusterConfiguration says that Deploy looks at Options.ClusterConfiguration.
	TakesClusterConfiguration bool
	// Deploy says what the target needs besides Common.
	Deploy func(Options) (Deployment, error)
}

// The directory on a control-plane node, and the user in a container: that of distroless images.
const (
	defaultNodeDir = "/etc/kubernetes/jobgate"
	nonRoot        = 65532
)

// Targets are all kinds of control planes that init knows, in the order of the help.
func Targets() []Target {
	return []Target{
		{
			Name: "kubeadm", Summary: "a static pod, beside the kube-apiserver that kubeadm writes",
			NodeDir: defaultNodeDir, UID: nonRoot, GID: nonRoot, TakesClusterConfiguration: true, Deploy: kubeadm,
		},
		{
			Name: "k3s", Summary: "a static pod on k3s servers",
			NodeDir: defaultNodeDir, UID: nonRoot, GID: nonRoot, Deploy: k3s,
		},
		{
			Name: "rke2", Summary: "a static pod on RKE2 servers",
			NodeDir: defaultNodeDir, UID: nonRoot, GID: nonRoot, Deploy: rke2,
		},
		{
			Name: "talos", Summary: "a machine configuration patch with a static pod, made on any machine",
			NodeDir: talosNodeDir, Dir: "jobgate-talos", UID: nonRoot, GID: nonRoot, CarriesKeys: true, Deploy: talos,
		},
		{
			Name: "kustomize", Summary: "a DaemonSet on control-plane nodes, beside a kube-apiserver of any kind",
			NodeDir: defaultNodeDir, UID: nonRoot, GID: nonRoot, Deploy: kustomize,
		},
		{
			Name: "systemd", Summary: "a service of systemd, beside a kube-apiserver of any kind",
			NodeDir: defaultNodeDir, UID: nonRoot, GID: nonRoot, User: "jobgate", Deploy: systemd,
		},
	}
}

// Lookup is the target with the name.
func Lookup(name string) (Target, error) {
	targets := Targets()
	i := slices.IndexFunc(targets, func(t Target) bool { return t.Name == name })
	if i < 0 {
		names := make([]string, 0, len(targets))
		for _, t := range targets {
			names = append(names, t.Name)
		}
		known := strings.Join(names, ", ")
		if name == "" {
			return Target{}, fmt.Errorf("it is required: one of %s", known)
		}
		return Target{}, fmt.Errorf("unknown target %q: it must be one of %s", name, known)
	}
	return targets[i], nil
}
