package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

const containerdModule = "github.com/containerd/containerd/v2"

// NodeSet are the programs of a machine that is a node, too.
type NodeSet struct {
	Set
	Kubelet    string
	Scheduler  string
	Containerd string
	Shim       string // containerd starts it by its name
	Ctr        string
}

// OnPath are the programs that someone types, or that find each other on the PATH. jobgate is not among them.
func (s NodeSet) OnPath() []string {
	return []string{s.Kubectl, s.Kubeadm, s.Kubelet, s.Containerd, s.Shim, s.Ctr}
}

// BuildNode builds what is missing, as Build does.
func BuildNode(ctx context.Context, options Options) (NodeSet, error) {
	set, err := Build(ctx, options)
	if err != nil {
		return NodeSet{}, err
	}
	v, err := learnVersions(ctx)
	if err != nil {
		return NodeSet{}, err
	}
	module := filepath.Join(v.root, "tools", "containerd")
	containerd, err := goCommand(ctx, module, nil, "list", "-m", "-f", "{{.Version}}", containerdModule)
	if err != nil {
		return NodeSet{}, fmt.Errorf("learn containerd's version: %w", err)
	}
	node, programs := planNode(set, v, module, strings.TrimSpace(containerd))
	return node, buildAll(ctx, programs, options.Progress)
}

func planNode(set Set, v versions, module, containerd string) (NodeSet, []program) {
	upstream := filepath.Dir(set.APIServer)
	runtimeDir := filepath.Join(filepath.Dir(upstream), strings.Join([]string{
		"containerd-" + containerd, v.goVersion, runtime.GOOS + "-" + runtime.GOARCH,
	}, "_"))
	node := NodeSet{
		Set:     set,
		Kubelet: filepath.Join(upstream, "kubelet"), Scheduler: filepath.Join(upstream, "kube-scheduler"),
		Containerd: filepath.Join(runtimeDir, "containerd"), Shim: filepath.Join(runtimeDir, "containerd-shim-runc-v2"),
		Ctr: filepath.Join(runtimeDir, "ctr"),
	}
	var programs []program
	for _, output := range []string{node.Containerd, node.Shim, node.Ctr} {
		programs = append(programs, program{
			name: filepath.Base(output), dir: module, pkg: containerdModule + "/cmd/" + filepath.Base(output), output: output, keep: true,
			// Without the snapshotters that need C libraries.
			flags: []string{"-tags=no_btrfs,no_devmapper,no_zfs", "-ldflags", "-s -w"},
		})
	}
	for _, output := range []string{node.Kubelet, node.Scheduler} {
		programs = append(programs, program{
			name: filepath.Base(output), dir: v.e2e, pkg: kubernetesModule + "/cmd/" + filepath.Base(output), output: output, keep: true,
			flags: []string{"-ldflags", kubernetesLinkFlags(v.kubernetes)},
		})
	}
	return node, programs
}
