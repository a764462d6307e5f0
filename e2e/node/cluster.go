//go:build linux

package node

import (
	"context"
	"fmt"
)

// kubeadmConfiguration is for a machine without systemd, and with cgroups of version 1.
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
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
`, m.Name, m.Address, m.programs.Kubernetes)
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
