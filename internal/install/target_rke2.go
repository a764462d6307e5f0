package install

// rke2 runs jobgate as a static pod beside the kube-apiserver that RKE2 writes as one, and gives that its flags and its
// mount by a drop-in. It needs v1.32.4+rke2r1, the first on the k3s that needs no --authorization-mode.
//
// RKE2 mounts each file that an argument of kube-apiserver's names, as a file of its own. What replaces such a file by
// renaming is therefore seen after a restart of the API server; certificates, which no argument names, are seen at once.
func rke2(o Options) (Deployment, error) {
	return rancher{
		pods: staticPods{
			target: "rke2", folder: "/var/lib/rancher/rke2/agent/pod-manifests", configFile: configDropIn,
		},
		dropIn:  "/etc/rancher/rke2/config.yaml.d/jobgate.yaml",
		version: "rke2 --version", oldest: "v1.32.4+rke2r1",
		service: "rke2-server", kubectl: "/var/lib/rancher/rke2/bin/kubectl --kubeconfig=/etc/rancher/rke2/rke2.yaml",
	}.deploy(o)
}
