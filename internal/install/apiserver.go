package install

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"k8s.io/apiserver/pkg/apis/apiserver"

	"github.com/jobgate/jobgate/internal/file"
)

// Bounds of what is read of a node's processes.
const (
	maxProcesses   = 1 << 16
	maxCommandLine = 1 << 20
)

// securePort is kube-apiserver's port if no flag sets another.
const securePort = "6443"

// APIServer is a kube-apiserver of this node, as it was started.
type APIServer struct {
	// From is the static pod's manifest, or the process.
	From string
	// Flags are by name, without dashes.
	Flags map[string]string

	onNode func(name string) string
}

// FindAPIServers finds the kube-apiserver of the node whose files are under root: as a static pod, or else every process of that
// name. There is none on nodes whose kube-apiserver is part of another process, as it is with k3s.
func FindAPIServers(root string) ([]*APIServer, error) {
	for _, manifest := range []string{serverManifest, rke2ServerManifest} {
		c, err := readStaticPod(root, manifest)
		if err != nil {
			return nil, err
		}
		if c != nil {
			return []*APIServer{{From: c.manifest, Flags: c.flags, onNode: c.onNode}}, nil
		}
	}
	return runningAPIServers(filepath.Join(root, "proc"))
}

// runningAPIServers reads the command lines of processes. Where there is no such folder there is nothing to find.
func runningAPIServers(proc string) ([]*APIServer, error) {
	entries, err := os.ReadDir(proc)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for kube-apiserver: %w", err)
	}
	var found []*APIServer
	for _, e := range entries[:min(len(entries), maxProcesses)] {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		line, err := file.Read(filepath.Join(proc, e.Name(), "cmdline"), maxCommandLine)
		if err != nil {
			continue // it has ended since
		}
		args := bytes.Split(bytes.TrimRight(line, "\x00"), []byte{0})
		if path.Base(string(args[0])) != "kube-apiserver" {
			continue
		}
		a := &APIServer{From: "process " + e.Name(), Flags: map[string]string{}}
		for _, arg := range args[1:] {
			addFlag(a.Flags, string(arg))
		}
		files := filepath.Join(proc, e.Name(), "root") // as the process sees them, in a container too
		a.onNode = func(name string) string { return filepath.Join(files, name) }
		found = append(found, a)
	}
	return found, nil
}

// OnNode is where this node has a file that kube-apiserver has at a path.
func (a *APIServer) OnNode(name string) string { return a.onNode(name) }

// Port is where it serves.
func (a *APIServer) Port() string {
	if port := a.Flags["secure-port"]; port != "" {
		return port
	}
	return securePort
}

// JobgateWebhook is jobgate's entry in an AuthorizationConfiguration. The error is an *AuthorizersError if there is none, or if it
// is in the wrong place.
func JobgateWebhook(text []byte) (*apiserver.WebhookConfiguration, error) {
	if err := CheckAuthorizers(text); err != nil {
		return nil, err
	}
	authorizers, err := loadAuthorizers(text)
	if err != nil {
		return nil, &AuthorizersError{err}
	}
	for _, a := range authorizers {
		if isJobgate(a) {
			return a.Webhook, nil
		}
	}
	return nil, &AuthorizersError{errNoJobgate}
}
