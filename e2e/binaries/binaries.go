// Package binaries builds the programs that the end-to-end tests and the demo run: Kubernetes' own from its Go modules,
// etcd from its, and jobgate from this repository. Kubernetes and etcd are built once and kept in
// the repository's .cache/bin, in a folder named after their versions and Go's.
package binaries

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jobgate/jobgate/e2e/process"
)

const (
	kubernetesModule = "k8s.io/kubernetes"
	etcdModule       = "go.etcd.io/etcd/server/v3"
)

// Set is where the programs are.
type Set struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Kubectl           string // in a folder that can be put on a PATH: the file is called kubectl
	Kubeadm           string
	Jobgate           string

	// Kubernetes is the version of the API server and kubectl, such as v1.36.3.
	Kubernetes string
	// Repository is the folder that jobgate was built from.
	Repository string
}

// Options choose how jobgate is built.
type Options struct {
	Race     bool      // with the race detector; needs a C compiler
	Progress io.Writer // hears what is being built and for how long; required
}

// LeftOut begins what a test says that needs a newer Kubernetes than the one under test.
const LeftOut = "left out: "

// program is one thing to build.
type program struct {
	name   string
	dir    string // where go build runs: the module that settles the dependencies' versions
	pkg    string
	flags  []string
	cgo    bool
	output string
	keep   bool // an existing output is up to date, since its folder's name says what it was built from
}

// Build builds what is missing. Run it from within the e2e module. jobgate is always handed to go build, which does
// nothing when it is up to date.
func Build(ctx context.Context, options Options) (Set, error) {
	versions, err := learnVersions(ctx)
	if err != nil {
		return Set{}, err
	}
	set, programs := plan(versions, options.Race)
	return set, buildAll(ctx, programs, options.Progress)
}

func buildAll(ctx context.Context, programs []program, progress io.Writer) error {
	for _, p := range programs {
		if p.keep {
			if _, err := os.Stat(p.output); err == nil {
				continue
			}
		}
		if err := p.build(ctx, progress); err != nil {
			return err
		}
	}
	return nil
}

func plan(v versions, race bool) (Set, []program) {
	cache := filepath.Join(v.root, ".cache", "bin")
	folder := func(kubernetes string) string {
		return filepath.Join(cache, strings.Join([]string{
			"kubernetes-" + kubernetes, "etcd-" + v.etcd, v.goVersion, runtime.GOOS + "-" + runtime.GOARCH,
		}, "_"))
	}
	upstream, chosen := folder(v.kubernetes), folder(v.chosen)
	// Without the commit a program that has not changed is not linked again. With a version, as in a release, jobgate knows
	// the name of its image.
	own, ownFlags := filepath.Join(cache, "plain"), []string{"-buildvcs=false", "-ldflags=-X main.version=v0.0.0-e2e"}
	if race {
		own, ownFlags = filepath.Join(cache, "race"), append(ownFlags, "-race")
	}
	set := Set{
		Etcd:              filepath.Join(upstream, "etcd"),
		APIServer:         filepath.Join(chosen, "kube-apiserver"),
		ControllerManager: filepath.Join(upstream, "kube-controller-manager"),
		Kubectl:           filepath.Join(chosen, "kubectl"),
		Kubeadm:           filepath.Join(upstream, "kubeadm"),
		Jobgate:           filepath.Join(own, "jobgate"),
		Kubernetes:        v.chosen,
		Repository:        v.root,
	}
	kubernetes := func(output, module, version string) program {
		name := filepath.Base(output)
		return program{
			name: name, dir: module, pkg: kubernetesModule + "/cmd/" + name, output: output, keep: true,
			flags: []string{"-ldflags", kubernetesLinkFlags(version)},
		}
	}
	return set, []program{
		{name: "jobgate", dir: v.root, pkg: "./cmd/jobgate", output: set.Jobgate, flags: ownFlags, cgo: race},
		{
			name: "etcd", dir: v.e2e, pkg: etcdModule, output: set.Etcd, keep: true,
			flags: []string{"-ldflags", "-s -w"},
		},
		kubernetes(set.Kubectl, v.chosenDir, v.chosen),
		kubernetes(set.APIServer, v.chosenDir, v.chosen),
		kubernetes(set.ControllerManager, v.e2e, v.kubernetes),
		kubernetes(set.Kubeadm, v.e2e, v.kubernetes),
	}
}

// kubernetesLinkFlags set what Kubernetes' release build sets: without a version, kubectl and the server report a
// placeholder.
func kubernetesLinkFlags(version string) string {
	const prefix = " -X k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	flags := "-s -w" + prefix + "gitVersion=" + version + prefix + "gitTreeState=clean"
	if len(parts) == 3 {
		flags += prefix + "gitMajor=" + parts[0] + prefix + "gitMinor=" + parts[1]
	}
	return flags
}

// build writes beside the output and renames, so that an interrupted build leaves nothing that looks finished.
func (p program) build(ctx context.Context, progress io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(p.output), 0o755); err != nil {
		return fmt.Errorf("make the folder of %s: %w", p.name, err)
	}
	stop := announce(progress, p.name, p.keep)
	target := p.output
	if p.keep {
		target = fmt.Sprintf("%s.%d.partial", p.output, os.Getpid())
		defer os.Remove(target)
	}
	args := append([]string{"build", "-o", target}, p.flags...)
	cgo := "CGO_ENABLED=0"
	if p.cgo {
		cgo = "CGO_ENABLED=1"
	}
	_, err := goCommand(ctx, p.dir, []string{cgo}, append(args, p.pkg)...)
	if err == nil && p.keep {
		err = os.Rename(target, p.output)
	}
	stop(err)
	if err != nil {
		return fmt.Errorf("build %s: %w", p.name, err)
	}
	return nil
}

// versions are what decides what a binary is.
type versions struct {
	root, e2e        string // folders of the two modules
	kubernetes, etcd string // that the e2e module requires
	chosen           string // the Kubernetes whose kube-apiserver and kubectl are tested
	chosenDir        string // the module that they are built from
	goVersion        string
}

func learnVersions(ctx context.Context) (versions, error) {
	out, err := goCommand(ctx, "", nil, "list", "-m", "-f", "{{.Dir}} {{.Version}}",
		"github.com/jobgate/jobgate", "github.com/jobgate/jobgate/e2e", kubernetesModule, etcdModule)
	if err != nil {
		return versions{}, fmt.Errorf("learn the versions to build: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 {
		return versions{}, fmt.Errorf("learn the versions to build: go list printed %d lines, not 4", len(lines))
	}
	field := func(line, i int) string {
		// A folder may contain blanks, a version does not.
		cut := strings.LastIndexByte(lines[line], ' ')
		return [2]string{lines[line][:cut], lines[line][cut+1:]}[i]
	}
	goVersion, err := goCommand(ctx, "", nil, "env", "GOVERSION")
	if err != nil {
		return versions{}, fmt.Errorf("learn Go's version: %w", err)
	}
	v := versions{
		root: field(0, 0), e2e: field(1, 0), kubernetes: field(2, 1), etcd: field(3, 1),
		chosen: field(2, 1), chosenDir: field(1, 0),
		goVersion: strings.TrimSpace(goVersion),
	}
	return v.choose(ctx, os.Getenv(kubernetesVariable))
}

// goCommand runs the go command in dir (empty: here) and returns its standard output.
func goCommand(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := process.Run(cmd); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, context.Cause(ctx))
		}
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
