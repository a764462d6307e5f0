// Package manifests holds what a cluster admin puts on a control plane, as files of the program, so that `jobgate init`
// writes what is in the repository and nothing else.
//
// It knows files and no values: what differs from cluster to cluster is put in by the package install.
package manifests

import "embed"

// Authorization is the name in Files of the AuthorizationConfiguration that jobgate recommends.
const Authorization = "authorization-configuration.yaml"

// Files are the manifests: Authorization, a folder for each target of init that has any, and what an admin or the authors of
// jobs take as they are.
//
//go:embed authorization-configuration.yaml admission audit flowcontrol gitlab-ci monitoring rbac restrictions k3s kubeadm kustomize rke2 structured-authentication systemd talos
var Files embed.FS
