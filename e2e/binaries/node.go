package binaries

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Modules that need other versions than Kubernetes have a folder for themselves in tools.
const (
	containerdModule = "github.com/containerd/containerd/v2"
	helmModule       = "helm.sh/helm/v4"
)

// NodeSet are the programs of a machine that is a node, too.
type NodeSet struct {
	Set
	Kubelet    string
	Scheduler  string
	Containerd string
	Shim       string // containerd starts it by its name
	Ctr        string
	Helm       string // CI jobs run it
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
	kubernetes := source{
		module: v.e2e, path: kubernetesModule, kept: filepath.Dir(set.Kubeadm), flags: []string{"-ldflags", kubernetesLinkFlags(v.kubernetes)},
	}
	containerd, err := learnSource(ctx, v, "containerd", containerdModule)
	if err != nil {
		return NodeSet{}, err
	}
	// Without the snapshotters that need C libraries.
	containerd.flags = append(containerd.flags, "-tags=no_btrfs,no_devmapper,no_zfs")
	helm, err := learnSource(ctx, v, "helm", helmModule)
	if err != nil {
		return NodeSet{}, err
	}
	programs := []program{
		kubernetes.program("kubelet"), kubernetes.program("kube-scheduler"),
		containerd.program("containerd"), containerd.program("containerd-shim-runc-v2"), containerd.program("ctr"), helm.program("helm"),
	}
	node := NodeSet{
		Set: set, Kubelet: programs[0].output, Scheduler: programs[1].output,
		Containerd: programs[2].output, Shim: programs[3].output, Ctr: programs[4].output, Helm: programs[5].output,
	}
	return node, buildAll(ctx, programs, options.Progress)
}

// source is what programs are built from.
type source struct {
	module string // the folder whose go.mod settles the versions
	path   string // of the module that has the programs
	kept   string // the folder of the finished programs, named after the version
	flags  []string
}

// learnSource is one of the folders in tools.
func learnSource(ctx context.Context, v versions, name, path string) (source, error) {
	s := source{module: filepath.Join(v.root, "tools", name), path: path, flags: []string{"-ldflags", "-s -w"}}
	version, err := goCommand(ctx, s.module, nil, "list", "-m", "-f", "{{.Version}}", path)
	if err != nil {
		return source{}, fmt.Errorf("learn the version of %s: %w", name, err)
	}
	s.kept = filepath.Join(v.root, ".cache", "bin", strings.Join([]string{
		name + "-" + strings.TrimSpace(version), v.goVersion, runtime.GOOS + "-" + runtime.GOARCH,
	}, "_"))
	return s, nil
}

func (s source) program(name string) program {
	return program{
		name: name, dir: s.module, pkg: s.path + "/cmd/" + name, output: filepath.Join(s.kept, name), keep: true, flags: s.flags,
	}
}
