//go:build linux

package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
)

// Endpoint is the name of the API servers. On every machine it is that of the first one.
const Endpoint = "api.prod.example.com"

// kubeadmConfiguration is for a machine without systemd, and with cgroups of version 1. The kubelet does not tidy up when the disk is
// nearly full.
func (m *Machine) kubeadmConfiguration() string {
	return fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: %[2]s}
nodeRegistration:
  name: %[1]s
  criSocket: unix:///run/containerd/containerd.sock
  imagePullPolicy: IfNotPresent
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: %[3]s
controlPlaneEndpoint: %[4]s:6443
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
evictionHard: {nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%, imagefs.inodesFree: 0%%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`, m.Name, m.Address, m.programs.Kubernetes, Endpoint)
}

// CreateCluster makes the machine the first of a cluster. There are no addons: pods use the machine's network.
func (m *Machine) CreateCluster(ctx context.Context) error {
	// The checks want systemd, and more processors than a machine for tests has.
	const create = "kubeadm init --config=/root/kubeadm.yaml --ignore-preflight-errors=all --skip-phases=addon,upload-certs,show-join-command"
	if _, err := m.Run(ctx, create); err != nil {
		return fmt.Errorf("create a cluster: %w\n%s", err, m.logs())
	}
	return nil
}

// keys are what the nodes of a control plane have in common.
var keys = []string{"ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key"}

// GiveKeys brings the cluster's keys to another machine, as an admin does who has not uploaded them.
func (m *Machine) GiveKeys(ctx context.Context, to *Machine) error {
	for _, key := range keys {
		content, err := os.ReadFile(m.Path("/etc/kubernetes/pki/" + key))
		if err != nil {
			return fmt.Errorf("read a key of the cluster: %w", err)
		}
		cmd := to.Command(ctx, "/bin/sh", "-ec", `mkdir -p "$(dirname "$0")"; umask 077; cat >"$0"`, "/etc/kubernetes/pki/"+key)
		cmd.Stdin = bytes.NewReader(content)
		if _, err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

// Join makes the machine a further control-plane node of another one's cluster.
func (m *Machine) Join(ctx context.Context, of *Machine) error {
	printed, err := of.Run(ctx, "kubeadm token create --print-join-command")
	if err != nil {
		return err
	}
	if err := of.GiveKeys(ctx, m); err != nil {
		return err
	}
	join := strings.TrimSpace(printed) + " --control-plane --apiserver-advertise-address=" + m.Address + " --node-name=" + m.Name +
		" --ignore-preflight-errors=all"
	if _, err := m.Run(ctx, join); err != nil {
		return fmt.Errorf("join a cluster: %w\n%s", err, m.logs())
	}
	return nil
}
