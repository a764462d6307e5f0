#!/bin/sh
# start-kubelet does what the systemd unit of Kubernetes' packages does: it waits for kubeadm, and becomes the kubelet.
set -eu
flags=/var/lib/kubelet/kubeadm-flags.env
until [ -s /var/lib/kubelet/config.yaml ] && [ -s "$flags" ]; do sleep 1; done
. "$flags"
exec kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
  --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS
