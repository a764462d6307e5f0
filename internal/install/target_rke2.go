package install

const rke2StaticPods = "/var/lib/rancher/rke2/agent/pod-manifests"

// rke2 runs jobgate as a static pod beside RKE2's kube-apiserver, which is one, too. A drop-in gives that its flags and its mount.
// It needs v1.32.4+rke2r1, the first that does not require --authorization-mode.
//
// RKE2 mounts each file that an argument of kube-apiserver names. If such a file is replaced by renaming, kube-apiserver sees the
// new one after a restart. No argument names the certificates, so it sees new ones at once.
func rke2(o Options) (Deployment, error) {
	return rancher{
		pods: staticPods{
			target: "rke2", folder: rke2StaticPods, configFile: configDropIn,
		},
		dropIn:  "/etc/rancher/rke2/config.yaml.d/jobgate.yaml",
		version: "rke2 --version", oldest: "v1.32.4+rke2r1",
		service: "rke2-server", kubectl: "/var/lib/rancher/rke2/bin/kubectl --kubeconfig=/etc/rancher/rke2/rke2.yaml",
	}.deploy(o)
}
