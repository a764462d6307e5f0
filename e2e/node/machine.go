//go:build linux

package node

import (
	"bytes"
	"context"
	_ "embed" // scripts of a machine
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
)

//go:embed boot.sh
var bootScript string

//go:embed start-kubelet.sh
var startKubelet string

//go:embed containerd.toml
var containerdConfiguration string

const (
	diskSize     = 8 << 30 // in sparse files
	etcdSize     = 1 << 30
	pollInterval = 200 * time.Millisecond
	// patience bounds each start of something; it only ends a broken run.
	patience = 5 * time.Minute
)

// Machine is a machine with a disk, which outlives its boots.
type Machine struct {
	Name    string
	Address string // of its only network interface
	Gateway string // the world's own address on the same cable

	dir      string
	programs binaries.NodeSet
	init     *exec.Cmd // the first process of the boot that runs; nil when off
}

// NewMachine makes a machine that has never run. The number is unique in the world.
func NewMachine(ctx context.Context, number int, programs binaries.NodeSet) (*Machine, error) {
	name := "node-" + strconv.Itoa(number)
	m := &Machine{
		Name: name, dir: filepath.Join(Folder(), name), programs: programs,
		Address: address(number), Gateway: fmt.Sprintf("10.200.%d.1", number),
	}
	for _, folder := range []string{"seed", "disk", "root"} {
		if err := os.MkdirAll(filepath.Join(m.dir, folder), 0o755); err != nil {
			return nil, fmt.Errorf("make the folder of %s: %w", name, err)
		}
	}
	for name, size := range map[string]int64{"disk.img": diskSize, "etcd.img": etcdSize} {
		if err := makeDisk(ctx, filepath.Join(m.dir, name), size); err != nil {
			return nil, fmt.Errorf("make a disk of %s: %w", m.Name, err)
		}
	}
	return m, m.seed()
}

func address(number int) string { return fmt.Sprintf("10.200.%d.10", number) }

func makeDisk(ctx context.Context, file string, size int64) error {
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, size); err != nil {
		return err
	}
	return command(ctx, "mkfs.ext4", "-q", file)
}

// seed leaves what the machine finds on its disk at the first boot.
func (m *Machine) seed() error {
	for path, text := range map[string]string{
		"/etc/containerd/config.toml":   containerdConfiguration,
		"/etc/hostname":                 m.Name + "\n",
		"/etc/hosts":                    "127.0.0.1 localhost\n" + m.Address + " " + m.Name + "\n" + address(1) + " " + Endpoint + "\n" + GitLabAddress + " " + GitLabName + "\n",
		"/usr/local/sbin/start-kubelet": startKubelet,
		"/root/kubeadm.yaml":            m.kubeadmConfiguration(),
	} {
		if err := m.Seed(path, []byte(text), 0o755); err != nil {
			return err
		}
	}
	for _, program := range m.programs.OnPath() {
		link := filepath.Join(m.dir, "seed", "usr/local/bin", filepath.Base(program))
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return fmt.Errorf("make a folder for programs: %w", err)
		}
		if err := os.Symlink(program, link); err != nil {
			return fmt.Errorf("put a program on %s: %w", m.Name, err)
		}
	}
	return nil
}

// Seed puts a file on the disk before the first boot.
func (m *Machine) Seed(path string, content []byte, mode os.FileMode) error {
	file := filepath.Join(m.dir, "seed", path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("seed %s: %w", m.Name, err)
	}
	if err := os.WriteFile(file, content, mode); err != nil {
		return fmt.Errorf("seed %s: %w", m.Name, err)
	}
	return nil
}

// Boot starts the machine, and waits for containerd. The kubelet starts once kubeadm has configured it.
func (m *Machine) Boot(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(m.dir, "boot.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("boot %s: %w", m.Name, err)
	}
	defer log.Close()
	// The cable is plugged in once the process is in its cgroup, which is where its view of the hierarchies begins.
	const start = `until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done; exec unshare --cgroup -- /bin/sh -c "$@"`
	boot := exec.Command("/bin/sh", "-c", start, "sh", bootScript, "boot.sh", m.dir, m.Name, m.Address, m.Gateway)
	boot.Stdout, boot.Stderr = log, log
	boot.Env = []string{"PATH=" + searchPath, "HOME=/root"}
	boot.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := boot.Start(); err != nil {
		return fmt.Errorf("boot %s: %w", m.Name, err)
	}
	m.init = boot
	pid := strconv.Itoa(boot.Process.Pid)
	err = errors.Join(
		joinGroups(filepath.Base(Folder())+"."+m.Name, boot.Process.Pid),
		command(ctx, "ip", "link", "add", m.Name, "type", "veth", "peer", "name", "eth0", "netns", pid),
		command(ctx, "ip", "address", "add", m.Gateway+"/24", "dev", m.Name),
		command(ctx, "ip", "link", "set", m.Name, "up"),
	)
	if err != nil {
		return errors.Join(fmt.Errorf("boot %s: %w", m.Name, err), m.PowerOff(ctx))
	}
	return m.Eventually(ctx, "ctr version")
}

// PowerOff takes the machine's power away: nothing there gets to know of it.
func (m *Machine) PowerOff(ctx context.Context) error {
	if m.init == nil {
		return nil
	}
	err := m.init.Process.Kill()
	_ = m.init.Wait() // it was killed
	m.init = nil
	if err != nil {
		return fmt.Errorf("power %s off: %w", m.Name, err)
	}
	// The kernel lets go of the disk a moment later; and the cable's other end goes with the machine's.
	return eventually(ctx, func(ctx context.Context) error {
		attached, err := output(ctx, "losetup", "--list", "--noheadings", "--output=BACK-FILE")
		if err == nil && strings.Contains(attached, m.dir+"/") {
			err = errors.New("the disks are still in use: " + attached)
		}
		if _, missing := os.Stat("/proc/sys/net/ipv4/conf/" + m.Name); err == nil && missing == nil {
			err = errors.New("the cable is still there")
		}
		return err
	})
}

const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Command is one that root runs on the machine.
func (m *Machine) Command(ctx context.Context, args ...string) *exec.Cmd {
	all := append([]string{
		"--target=" + strconv.Itoa(m.init.Process.Pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd=/root", "--",
	}, args...)
	cmd := exec.CommandContext(ctx, "nsenter", all...)
	cmd.Env = []string{"PATH=" + searchPath, "HOME=/root"}
	cmd.WaitDelay = time.Second
	return cmd
}

// Run types lines of shell as root on the machine; the first failing one ends them. The error has what they printed.
func (m *Machine) Run(ctx context.Context, script string) (stdout string, err error) {
	if m.init == nil {
		return "", errors.New(m.Name + " is off")
	}
	return run(m.Command(ctx, "/bin/sh", "-e", "-c", script))
}

// Eventually waits until the lines succeed.
func (m *Machine) Eventually(ctx context.Context, script string) error {
	return eventually(ctx, func(ctx context.Context) error {
		_, err := m.Run(ctx, script)
		return err
	})
}

// logs are the ends of the machine's own logs, for messages.
func (m *Machine) logs() string {
	var text strings.Builder
	for _, file := range []string{"boot.log", "root/var/log/containerd.log", "root/var/log/start-kubelet.log"} {
		path := filepath.Join(m.dir, file)
		if name, inside := strings.CutPrefix(file, "root"); inside {
			path = m.Path(name)
		}
		tail, err := output(context.Background(), "tail", "-n", "20", path)
		fmt.Fprintf(&text, "the end of %s:\n%s%v\n", file, tail, err)
	}
	return text.String()
}

// Path is a file of the running machine as the world sees it.
func (m *Machine) Path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.init.Process.Pid), "root", name)
}

// eventually tries until there is no error.
func eventually(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		// An attempt that is cut short says less than the one before.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("%w; the last attempt: %w", ctx.Err(), last)
		}
	}
}

func command(ctx context.Context, name string, args ...string) error {
	_, err := output(ctx, name, args...)
	return err
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	return run(exec.CommandContext(ctx, name, args...))
}

func run(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Args[0]), err, strings.TrimSpace(stdout.String()+stderr.String()))
	}
	return stdout.String(), nil
}
