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
	// NodeDir is the default of the directory on a node; absolute.
	NodeDir string
	// Dir is the default of the directory that init writes; empty for NodeDir, if init runs on the node.
	Dir string
	// User is a user of the node, whose ids are used instead of nonRoot if the node has it; empty for none.
	User string
	// CarriesKeys says that Deploy needs Options.PKI.
	CarriesKeys bool
	// TakesSecond says that Deploy looks at Options.Second.
	TakesSecond bool
	// TakesDecisionLog says that Deploy looks at Options.DecisionLog.
	TakesDecisionLog bool
	// TakesClusterConfiguration says that Deploy looks at Options.ClusterConfiguration.
	TakesClusterConfiguration bool
	// Deploy is what the target needs besides Common.
	Deploy func(Options) (Deployment, error)
}

// DefaultNodeDir is the directory on a control-plane node that holds the configuration and the PKI, unless --node-dir or Talos
// says otherwise.
const DefaultNodeDir = "/etc/kubernetes/jobgate"

// nonRoot is the user and group that jobgate runs as, and that own its keys: those of distroless images.
const nonRoot = 65532

// Targets are all kinds of control planes that init knows, in the order of the help.
func Targets() []Target {
	return []Target{
		{
			Name: "kubeadm", Summary: "a static pod, beside the kube-apiserver that kubeadm writes",
			NodeDir: DefaultNodeDir, TakesSecond: true, TakesDecisionLog: true, TakesClusterConfiguration: true, Deploy: kubeadm,
		},
		{
			Name: "k3s", Summary: "a static pod on k3s servers",
			NodeDir: DefaultNodeDir, TakesSecond: true, TakesDecisionLog: true, Deploy: k3s,
		},
		{
			Name: "rke2", Summary: "a static pod on RKE2 servers",
			NodeDir: DefaultNodeDir, TakesSecond: true, TakesDecisionLog: true, Deploy: rke2,
		},
		{
			Name: "talos", Summary: "a machine configuration patch with a static pod, made on any machine",
			NodeDir: talosNodeDir, Dir: "jobgate-talos", CarriesKeys: true, Deploy: talos,
		},
		{
			Name: "kustomize", Summary: "a DaemonSet on control-plane nodes, beside any kube-apiserver",
			NodeDir: DefaultNodeDir, Deploy: kustomize,
		},
		{
			Name: "systemd", Summary: "a systemd service, beside any kube-apiserver",
			NodeDir: DefaultNodeDir, User: "jobgate", TakesSecond: true, TakesDecisionLog: true, Deploy: systemd,
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
