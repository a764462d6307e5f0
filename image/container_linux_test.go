package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

// patience ends a broken run; nothing that works comes near it.
const patience = 2 * time.Minute

// container runs an image's entry point as a container engine does: in the image's root directory, as the image's user,
// in the image's environment and nothing else of this process's.
type container struct {
	root     string
	config   v1.Config
	uid, gid int
}

func newContainer(t *testing.T, image v1.Image) *container {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{root: extract(t, image), config: file.Config}
	user, group, _ := strings.Cut(file.Config.User, ":")
	if c.uid, err = strconv.Atoi(user); err != nil {
		t.Fatalf("the image's user is %q, want numbers", file.Config.User)
	}
	if c.gid, err = strconv.Atoi(group); err != nil {
		t.Fatalf("the image's user is %q, want numbers", file.Config.User)
	}
	return c
}

// extract lays the image out as a container engine does, in a new directory. Where this process may not give files away,
// they stay its own.
func extract(t *testing.T, image v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, e := range contents(t, image) {
		if e.link != "" {
			if err := root.Symlink(e.link, e.name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if e.name[len(e.name)-1] == '/' {
			err = root.MkdirAll(e.name[:len(e.name)-1], 0o700)
		} else {
			err = root.WriteFile(e.name, e.content, 0o600)
		}
		if err == nil {
			err = root.Chmod(e.name, os.FileMode(e.mode))
		}
		if err == nil && os.Getuid() == 0 {
			err = root.Chown(e.name, e.uid, e.gid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The root itself is in no layer; engines make it so.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// mount puts a file into the container that only its user can read, as a volume does.
func (c *container) mount(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(c.root, name)
	programtest.Write(t, file, text)
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(file, c.uid, c.gid); err != nil {
			t.Fatal(err)
		}
	}
}

// command is a run of the entry point. Kernels end it with the thread that starts it, so the test keeps its thread.
func (c *container) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, c.config.Entrypoint[0], append(c.config.Entrypoint[1:], args...)...)
	cmd.Env = c.config.Env
	cmd.Dir = c.config.WorkingDir
	cmd.SysProcAttr = c.attributes()
	return cmd
}

// attributes confine the child. A process other than root's becomes the image's user in a user namespace.
func (c *container) attributes() *syscall.SysProcAttr {
	attributes := &syscall.SysProcAttr{
		Chroot:     c.root,
		Credential: &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)},
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 {
		attributes.Cloneflags = syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: c.uid, HostID: os.Getuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: c.gid, HostID: os.Getgid(), Size: 1}}
		attributes.Credential.NoSetGroups = true
	}
	return attributes
}

// run waits for the command's end.
func (c *container) run(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := c.command(t, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s in the image's root (it takes root, or user namespaces): %v", cmd, err)
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// confinement is what the kernel says of a running child.
func confinement(t *testing.T, pid int) (root string, status map[string]string) {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	root, err := os.Readlink(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	status = map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		status[key] = strings.Join(strings.Fields(value), " ")
	}
	return root, status
}
