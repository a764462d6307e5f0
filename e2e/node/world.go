//go:build linux

// Package node runs whole Kubernetes machines on this one: each with a disk, a network, a real containerd and a real kubelet, which
// starts kube-apiserver and the rest as static pods. kubeadm makes the cluster, as on a machine that boots.
//
// Machines live in a world of namespaces that Enter makes. When the process in there ends, however it ends, the kernel ends everything
// that it has started, and takes away mounts and networks. No file of this machine is changed but in the world's folder.
package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// worldVariable names the world's folder to the process that runs inside.
const worldVariable = "JOBGATE_NODE_WORLD"

// GitLabName is what machines call the world's own address, where a GitLab may listen.
const (
	GitLabName    = "gitlab.example.com"
	GitLabAddress = "10.200.0.1"
)

// cgroups is where this machine has its cgroup hierarchies (version 1), each in a folder.
const cgroups = "/sys/fs/cgroup"

const (
	removePatience = 30 * time.Second
	removeInterval = 100 * time.Millisecond
)

// Folder is the world's folder; empty outside.
func Folder() string { return os.Getenv(worldVariable) }

// Supported says what keeps this machine from having a world.
func Supported() error {
	if os.Getuid() != 0 {
		return errors.New("only root can make cgroups and mount file systems")
	}
	if _, err := hierarchies(); err != nil {
		return err
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return fmt.Errorf("a machine's disks are loop devices: %w", err)
	}
	return nil
}

// Enter runs this program again, with its arguments, inside a new world, and returns its exit code. The world's folder and cgroups are
// removed afterwards. Variables ("NAME=value") are added to the environment.
func Enter(variables ...string) (code int, err error) {
	dir, err := os.MkdirTemp("", "jobgate-node-")
	if err != nil {
		return 1, fmt.Errorf("make the world's folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), removeGroups(filepath.Base(dir))) }()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(append(os.Environ(), variables...), worldVariable+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
		Setpgid:    true, Pdeathsig: syscall.SIGKILL,
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	// The kernel's signal at a parent's death comes when the starting thread ends (https://go.dev/issue/27505).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("make a world: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-interrupts:
		_ = cmd.Process.Kill()
		<-ended
		return 1, errors.New("interrupted")
	case err := <-ended:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}
}

// Prepare makes the world fit to live in. It is called once, inside.
func Prepare(ctx context.Context) error {
	// The process ids are the world's, and its mounts stay in it.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the world's mounts inside: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, args := range [][]string{{"link", "set", "lo", "up"}, {"address", "add", GitLabAddress + "/32", "dev", "lo"}} {
		if err := command(ctx, "ip", args...); err != nil {
			return err
		}
	}
	// Machines reach each other through here.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("let the world forward packets: %w", err)
	}
	return nil
}

// hierarchies are the folders of the cgroup hierarchies.
func hierarchies() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(cgroups, "*", "tasks"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no cgroup hierarchies of version 1, which is the only version that a machine is set up for", cgroups)
	}
	folders := make([]string, 0, len(files))
	for _, file := range files {
		folders = append(folders, filepath.Dir(file))
	}
	return folders, err
}

// joinGroups makes a cgroup in every hierarchy and puts a process there.
func joinGroups(name string, pid int) error {
	parents, err := hierarchies()
	if err != nil {
		return err
	}
	for _, parent := range parents {
		group := filepath.Join(parent, name)
		if err := os.MkdirAll(group, 0o755); err != nil {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		// A new group of this hierarchy has no processors, and takes no process before it has.
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(parent, setting))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(group, setting), value, 0o600)
			}
			if err != nil {
				return fmt.Errorf("set a cgroup up: %w", err)
			}
		}
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return fmt.Errorf("join a cgroup: %w", err)
		}
	}
	return nil
}

// removeGroups removes the world's cgroups, the innermost first. The kernel may need a moment to see that they are empty.
func removeGroups(world string) error {
	groups, err := filepath.Glob(filepath.Join(cgroups, "*", world+".*"))
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(removePatience); ; time.Sleep(removeInterval) {
		var errs []error
		for _, group := range groups {
			errs = append(errs, removeGroup(group))
		}
		if err := errors.Join(errs...); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func removeGroup(group string) error {
	var folders []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for cgroups: %w", err)
	}
	for i := len(folders) - 1; i >= 0; i-- {
		if err := os.Remove(folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a cgroup: %w", err)
		}
	}
	return nil
}
