package process_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/process"
)

const patience = 30 * time.Second

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start(process.Spec{
		Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}, LogFile: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func alwaysUnready(context.Context) error { return errors.New("not yet") }

func TestWaitReady_ReportsTheLogOfAChildThatEnds(t *testing.T) {
	p := shell(t, "echo the port is taken >&2; exit 3")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := p.WaitReady(ctx, alwaysUnready)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("error %v, want exit code 3 and the log", err)
	}
}

func TestWaitReady_EndsWithItsContext(t *testing.T) {
	p := shell(t, "exec sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.WaitReady(ctx, alwaysUnready); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestStop_TellsAGoodEndFromABadOne(t *testing.T) {
	tests := []struct {
		name, script string
		good         bool
	}{
		{"ends by SIGTERM", "echo ready; exec sleep 600", true},
		{"ends with 0 on SIGTERM", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done", true},
		{"ends with 7 on SIGTERM", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			p, err := process.Start(process.Spec{
				Name: "shell", Path: "/bin/sh", Args: []string{"-c", test.script}, LogFile: log,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.Kill)
			awaitReady(t, p, log)
			if err := p.Stop(); (err == nil) != test.good {
				t.Errorf("Stop: %v, want an error: %t", err, !test.good)
			}
		})
	}
}

func awaitReady(t *testing.T, p *process.Process, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := p.WaitReady(ctx, func(context.Context) error {
		text, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(text), "ready") {
			err = errors.New("no word yet")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func awaitPID(t *testing.T, file string) (pid int) {
	t.Helper()
	eventually.True(t, "the file has a process number", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

// gone says whether the process has ended. A zombie, which no process waits for, counts as ended.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	file, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return true
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if state, ok := strings.CutPrefix(lines.Text(), "State:"); ok {
			return strings.HasPrefix(strings.TrimSpace(state), "Z")
		}
	}
	return false
}

func TestRun_KillsTheWholeGroupWhenTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `sleep 600 & echo $! > "$0"; wait`, pidFile)
	finished := make(chan error, 1)
	go func() { finished <- process.Run(cmd) }()
	grandchild := awaitPID(t, pidFile)
	cancel()
	if err := <-finished; err == nil {
		t.Error("Run: no error, want that of a killed command")
	}
	eventually.True(t, "the grandchild is gone", func() bool { return gone(grandchild) })
}
