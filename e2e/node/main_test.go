//go:build node

// Package node_test runs jobgate on a machine as an admin has it: kubeadm has made the cluster, the kubelet starts jobgate from the
// image of `make image`, and everything is typed as the pages say. GitLab alone is a fake. `make node` runs it.
package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/node"
	"github.com/jobgate/jobgate/e2e/process"
)

// The image's versions: the one that is installed, and the one that an upgrade brings.
const (
	version     = "v0.0.0-node"
	nextVersion = "v0.0.1-node"
)

// programsVariable carries what was built into the world, where no module can be downloaded.
const programsVariable = "JOBGATE_NODE_PROGRAMS"

// bootPatience bounds the start of the cluster.
const bootPatience = 10 * time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if node.Folder() == "" {
		code, err := outside()
		if err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
		}
		return code
	}
	ctx, cancel := context.WithTimeout(context.Background(), bootPatience)
	defer cancel()
	begin := time.Now()
	if err := build(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	fmt.Fprintf(os.Stderr, "node: a cluster of one machine is ready after %s\n", time.Since(begin).Round(time.Second))
	code := m.Run()
	if err := site.machine.PowerOff(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 1
	}
	return code
}

// outside builds what is missing, while there is a network to download modules from.
func outside() (int, error) {
	if err := node.Supported(); err != nil {
		return 1, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	set, err := binaries.BuildNode(ctx, binaries.Options{Progress: os.Stderr})
	if err != nil {
		return 1, err
	}
	for _, v := range []string{version, nextVersion} {
		if err := makeImage(ctx, set.Repository, v); err != nil {
			return 1, err
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		return 1, err
	}
	stop()
	return node.Enter(programsVariable + "=" + string(text))
}

// imageFolder has what `make image` has made of a version: the program, and the image as an OCI layout.
func imageFolder(repository, version string) string {
	return filepath.Join(repository, ".cache", "node", version)
}

func makeImage(ctx context.Context, repository, version string) error {
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "image", "VERSION="+version, "PLATFORMS="+platform,
		"BIN="+imageFolder(repository, version))
	cmd.Dir = repository
	out, err := os.CreateTemp("", "jobgate-node-image-")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := process.Run(cmd); err != nil {
		text, readErr := os.ReadFile(out.Name())
		return errors.Join(fmt.Errorf("make image: %w\n%s", err, text), readErr)
	}
	return nil
}
