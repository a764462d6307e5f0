// Command suite runs the end-to-end tests in groups, side by side. Each group is a process with an installation to itself, so
// that no group meets what another one changes: faults of GitLab, restarts, rights. Within a group, tests run one after the
// other.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/process"
)

const (
	groupTimeout = 20 * time.Minute // ends a broken run
	grace        = 30 * time.Second // for a group that is interrupted, to stop what it has started
)

func main() { process.Main("e2e", run) }

func run(ctx context.Context) error {
	began := time.Now()
	set, err := binaries.Build(ctx, binaries.Options{Race: true, Progress: os.Stderr})
	if err != nil {
		return err
	}
	s, err := newSuite(ctx, set)
	if err != nil {
		return err
	}
	tests, err := s.list(ctx)
	if err != nil {
		return err
	}
	assigned, err := assign(tests)
	if err != nil {
		return err
	}
	r := newReport(os.Stdout)
	var running sync.WaitGroup
	for _, g := range groups {
		running.Go(func() { r.ended(g.name, s.runGroup(ctx, r, g.name, assigned[g.name])) })
	}
	running.Go(func() { r.ended(otherPackages, s.runOthers(ctx, r)) })
	running.Wait()
	return r.finish(set.Kubernetes, time.Since(began))
}

// suite is the compiled tests of the package above this one, and the program that turns their output into events.
type suite struct{ folder, binary, converter string }

func newSuite(ctx context.Context, set binaries.Set) (suite, error) {
	converter, err := output(ctx, "", "go", "tool", "-n", "test2json")
	if err != nil {
		return suite{}, err
	}
	s := suite{
		folder:    filepath.Join(set.Repository, "e2e"),
		binary:    filepath.Join(filepath.Dir(set.Jobgate), "e2e.test"),
		converter: strings.TrimSpace(converter),
	}
	_, err = output(ctx, s.folder, "go", "test", "-c", "-o", s.binary, ".")
	return s, err
}

func (s suite) list(ctx context.Context) ([]string, error) {
	text, err := output(ctx, s.folder, s.binary, "-test.list=.")
	return strings.Fields(text), err
}

// runGroup runs the tests of a group, and reports their events.
func (s suite) runGroup(ctx context.Context, r *report, name string, tests []string) error {
	program := command(ctx, s.folder, s.binary, "-test.v=test2json", "-test.timeout="+groupTimeout.String(),
		"-test.run=^("+strings.Join(tests, "|")+")$")
	lines, err := program.StdoutPipe()
	if err != nil {
		return err
	}
	program.Stderr = program.Stdout
	converter := command(context.WithoutCancel(ctx), "", s.converter, "-t", "-p", name)
	converter.Stdin, converter.Stderr = lines, os.Stderr
	events, err := converter.StdoutPipe()
	if err != nil {
		return err
	}
	if err := errors.Join(program.Start(), converter.Start()); err != nil {
		return err
	}
	return errors.Join(r.read(events, name), converter.Wait(), program.Wait())
}

// runOthers runs the tests of the packages that need no installation.
func (s suite) runOthers(ctx context.Context, r *report) error {
	packages, err := output(ctx, s.folder, "go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...")
	if err != nil {
		return err
	}
	root, err := output(ctx, s.folder, "go", "list", ".")
	if err != nil {
		return err
	}
	args := []string{"test", "-json", "-count=1"}
	for _, path := range strings.Fields(packages) {
		if path != strings.TrimSpace(root) {
			args = append(args, path)
		}
	}
	program := command(ctx, s.folder, "go", args...)
	program.Stderr = os.Stderr
	events, err := program.StdoutPipe()
	if err != nil {
		return err
	}
	if err := program.Start(); err != nil {
		return err
	}
	return errors.Join(r.read(events, otherPackages), program.Wait())
}

// command is told to end, and not killed, when ctx ends: it has other programs to stop.
func command(ctx context.Context, folder, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.WaitDelay = folder, grace
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// output is what a command prints.
func output(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := command(ctx, folder, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	return string(out), nil
}
