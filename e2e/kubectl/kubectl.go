// Package kubectl runs the real kubectl as a CI job or an administrator would: each with a separate home, kubeconfig
// and cache, and without the developer's settings. It does not know who the user is to the cluster.
package kubectl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jobgate/jobgate/e2e/process"
)

// Timeout bounds one command or script, where a workspace has no other limit.
const Timeout = time.Minute

// Workspace is where one user's commands run. Its Kubeconfig need not exist before a command writes it.
type Workspace struct {
	Dir        string // the working directory, empty at first
	Kubeconfig string // $KUBECONFIG
	Cache      string // $KUBECACHEDIR
	Limit      time.Duration
	env        []string
	kubectl    string
}

// Result is what a command did.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// OK says whether the command exited with 0.
func (r Result) OK() bool { return r.ExitCode == 0 }

// String is for failure messages.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.ExitCode,
		strings.TrimSpace(r.Stdout), strings.TrimSpace(r.Stderr))
}

// New makes a workspace in dir, which it creates. The given variables ("NAME=value") come on top of HOME, PATH,
// KUBECONFIG and KUBECACHEDIR.
func New(dir, kubectl string, env ...string) (*Workspace, error) {
	home, work := filepath.Join(dir, "home"), filepath.Join(dir, "work")
	for _, folder := range []string{home, work} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("make a workspace: %w", err)
		}
	}
	w := &Workspace{
		Dir: work, Kubeconfig: filepath.Join(dir, "kubeconfig"), Cache: filepath.Join(dir, "cache"), Limit: Timeout, kubectl: kubectl,
	}
	w.env = append([]string{
		"HOME=" + home,
		"PATH=" + filepath.Dir(kubectl) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"KUBECONFIG=" + w.Kubeconfig,
		"KUBECACHEDIR=" + w.Cache,
	}, env...)
	return w, nil
}

// Run runs kubectl with the arguments. A command that runs and fails is no error: its Result says so.
func (w *Workspace) Run(ctx context.Context, args ...string) (Result, error) {
	return w.run(ctx, "", w.kubectl, args...)
}

// Apply pipes a manifest into kubectl apply. It is marked as YAML: kubectl 1.32 takes what begins with a brace for JSON.
func (w *Workspace) Apply(ctx context.Context, manifest string) (Result, error) {
	return w.run(ctx, "---\n"+manifest, w.kubectl, "apply", "-f", "-")
}

// Script runs the lines of a job's script in the shell as a runner does: the first failing line ends it.
func (w *Workspace) Script(ctx context.Context, script string) (Result, error) {
	return w.run(ctx, "", "/bin/sh", "-e", "-c", script)
}

func (w *Workspace) run(ctx context.Context, stdin, path string, args ...string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = w.Dir, w.env
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := process.Run(cmd)
	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return result, fmt.Errorf("run %s: %w\n%s", filepath.Base(path), errors.Join(err, context.Cause(ctx)), result)
	}
	return result, nil
}
