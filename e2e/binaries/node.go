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
	t := tools{module: map[string]string{}, version: map[string]string{}}
	for name, path := range map[string]string{"containerd": containerdModule, "helm": helmModule} {
		t.module[name] = filepath.Join(v.root, "tools", name)
		version, err := goCommand(ctx, t.module[name], nil, "list", "-m", "-f", "{{.Version}}", path)
		if err != nil {
			return NodeSet{}, fmt.Errorf("learn the version of %s: %w", name, err)
		}
		t.version[name] = strings.TrimSpace(version)
	}
	node, programs := planNode(set, v, t)
	return node, buildAll(ctx, programs, options.Progress)
}

// tools are by the names of their folders.
type tools struct{ module, version map[string]string }

func planNode(set Set, v versions, t tools) (NodeSet, []program) {
	upstream := filepath.Dir(set.APIServer)
	folder := func(tool string) string {
		return filepath.Join(filepath.Dir(upstream), strings.Join([]string{
			tool + "-" + t.version[tool], v.goVersion, runtime.GOOS + "-" + runtime.GOARCH,
		}, "_"))
	}
	node := NodeSet{
		Set:     set,
		Kubelet: filepath.Join(upstream, "kubelet"), Scheduler: filepath.Join(upstream, "kube-scheduler"),
		Containerd: filepath.Join(folder("containerd"), "containerd"), Shim: filepath.Join(folder("containerd"), "containerd-shim-runc-v2"),
		Ctr: filepath.Join(folder("containerd"), "ctr"), Helm: filepath.Join(folder("helm"), "helm"),
	}
	var programs []program
	for _, output := range []string{node.Containerd, node.Shim, node.Ctr} {
		programs = append(programs, program{
			name: filepath.Base(output), dir: t.module["containerd"], pkg: containerdModule + "/cmd/" + filepath.Base(output), output: output, keep: true,
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
	return node, append(programs, program{
		name: "helm", dir: t.module["helm"], pkg: helmModule + "/cmd/helm", output: node.Helm, keep: true, flags: []string{"-ldflags", "-s -w"},
	})
}
