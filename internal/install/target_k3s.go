package install

// k3s runs jobgate as a static pod of the kubelet inside k3s. A drop-in gives the kube-apiserver inside k3s its flags. It needs
// v1.32.4+k3s1: older ones always set --authorization-mode (k3s-io/k3s#12017).
func k3s(o Options) (Deployment, error) {
	return rancher{
		pods: staticPods{
			target: "k3s", folder: "/var/lib/rancher/k3s/agent/pod-manifests", configFile: configDropIn,
		},
		dropIn:  "/etc/rancher/k3s/config.yaml.d/jobgate.yaml",
		version: "k3s --version", oldest: "v1.32.4+k3s1",
		service: "k3s", kubectl: "k3s kubectl",
	}.deploy(o)
}

// rancher is what k3s and RKE2, which is built on it, have in common.
type rancher struct {
	pods    staticPods
	dropIn  string // where the server looks for further configuration; absolute
	version string // a command that prints the version
	oldest  string // the first version that can do without --authorization-mode
	service string // of systemd
	kubectl string // a command that reaches the node's own API server as admin
}

func (r rancher) deploy(o Options) (Deployment, error) {
	files, err := r.pods.files(o)
	if err != nil {
		return Deployment{}, err
	}
	start, err := r.pods.start(o)
	if err != nil {
		return Deployment{}, err
	}
	return Deployment{Files: files, Steps: []Step{
		{
			Text:     "On every server: check that it is " + r.oldest + " or later. An older one does not start with these flags.",
			Commands: []string{r.version},
		},
		start,
		{
			Text: "On every server, one after the other: give kube-apiserver its flags, and restart it." +
				" A server that has never run takes both files before its first start.",
			Commands: []string{
				"install -D -m 0600 " + deployed(o, configDropIn) + " " + r.dropIn,
				"systemctl restart " + r.service,
				waitFor("5m", r.kubectl+" get --raw=/readyz", "journalctl --unit="+r.service+" --lines=20 --no-pager"),
			},
		},
	}}, nil
}
