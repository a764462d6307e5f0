package process_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/process"
)

// roleVariable makes the test binary play another process of the tests.
const roleVariable = "PROCESS_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "parent" {
		os.Exit(playParent())
	}
	os.Exit(m.Run())
}

// playParent starts a child, prints the child's number and waits for its own end.
func playParent() int {
	child := filepath.Join(os.TempDir(), "child.log")
	_, err := process.Start(process.Spec{
		Name: "child", Path: "/bin/sh", Args: []string{"-c", "echo $$ > \"$PID_FILE\"; exec sleep 600"},
		Env: []string{"PID_FILE=" + os.Getenv("PID_FILE")}, LogFile: child,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends, should it forget to kill
	return 0
}

// A test run that is killed, which gives it no chance to clean up, leaves nothing behind.
func TestStart_ChildDiesWithAKilledParent(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), roleVariable+"=parent", "PID_FILE="+pidFile, "TMPDIR="+t.TempDir())
	stdin, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	child := awaitPID(t, pidFile)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as was asked for
	eventually.True(t, "the child is gone", func() bool { return gone(child) })
}
