// Package process runs child processes that never outlive their parent: long-running servers with a log file and a
// readiness probe, and short commands. It does not know what the children do.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// grace is how long Stop waits after SIGTERM before it kills.
const grace = 15 * time.Second

const (
	probeInterval = 50 * time.Millisecond
	tailBytes     = 4 << 10
)

// Spec describes a long-running child.
type Spec struct {
	Name    string   // what messages call it
	Path    string   // the program
	Args    []string // without the program's name
	Env     []string // added to the parent's environment
	LogFile string   // takes stdout and stderr; appended to, so that a restart keeps the earlier part
}

// Process is a running (or ended) long-running child.
type Process struct {
	spec   Spec
	pid    int
	ended  chan struct{}
	result error // valid once ended is closed
}

// Start starts a child in a new process group. The child is killed when this process dies, however it dies.
func Start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", spec.Name, err)
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes()

	p := &Process{spec: spec, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer log.Close()
		// The kernel's parent-death signal fires when the starting thread ends, so that thread stays with the child
		// (https://go.dev/issue/27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			p.result = cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return p, nil
}

// PID is the child's process id, for what /proc says of it while it runs.
func (p *Process) PID() int { return p.pid }

// WaitReady polls probe until it succeeds. It gives up when the child ends or ctx does; the error then carries the end
// of the child's log.
func (p *Process) WaitReady(ctx context.Context, probe func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, probeInterval, true, func(ctx context.Context) (bool, error) {
		select {
		case <-p.ended:
			return false, fmt.Errorf("it ended: %w", p.exit())
		default:
		}
		if err := probe(ctx); err != nil {
			// The probe that the deadline cuts short says less than the one before it.
			if ctx.Err() == nil || last == nil {
				last = err
			}
			return false, nil
		}
		return true, nil
	})
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s is not ready: %w (last probe: %v)\n%s", p.spec.Name, err, last, p.tail()) //nolint:errorlint // there may be no last error
}

// Stop ends the child's process group: SIGTERM, then, after grace, SIGKILL. It fails if the child had to be
// killed or had ended with an error, before or now; an end by SIGTERM is no error. A second Stop returns
// the same.
func (p *Process) Stop() error {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("%s had to be killed: it did not end within %s\n%s", p.spec.Name, grace, p.tail())
	}
	if err := p.exit(); err != nil && !terminated(err) {
		return fmt.Errorf("%s ended badly: %w\n%s", p.spec.Name, err, p.tail())
	}
	return nil
}

// Kill ends the child at once, as a crash would.
func (p *Process) Kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// signal does nothing once the child has ended: its number may belong to another process by now.
func (p *Process) signal(signal syscall.Signal) {
	select {
	case <-p.ended:
	default:
		_ = syscall.Kill(-p.pid, signal)
	}
}

func (p *Process) exit() error {
	<-p.ended
	return p.result
}

func terminated(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// tail is the end of the log, framed for an error message.
func (p *Process) tail() string {
	text, err := os.ReadFile(p.spec.LogFile)
	if err != nil {
		return fmt.Sprintf("(its log cannot be read: %v)", err)
	}
	if cut := len(text) - tailBytes; cut > 0 {
		text = text[cut:]
	}
	indented := strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n    ")
	return fmt.Sprintf("  the end of %s:\n    %s", p.spec.LogFile, indented)
}

// Run runs a short command to its end under the same guarantee; when ctx ends, the command's whole group is killed. The
// error is that of exec.Cmd.Run. Create cmd with exec.CommandContext and the same ctx.
func Run(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = time.Second
	return cmd.Run()
}
