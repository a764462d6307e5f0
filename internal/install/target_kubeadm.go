package install

import "path"

// kubeadmConfigFile is a ClusterConfiguration: the cluster's with jobgate in it, or one with nothing but what jobgate needs.
const kubeadmConfigFile = "cluster-configuration.yaml"

// Files of kubeadm, and of the admin who follows the steps, on a control-plane node.
const (
	kubeadmStaticPods = "/etc/kubernetes/manifests"
	kubeadmExported   = "/root/cluster-configuration.yaml"
)

// kubeadmKubectl is kubectl as the cluster's administrator, in the namespace of kubeadm's objects.
const kubeadmKubectl = "kubectl --kubeconfig=" + adminConf + " --namespace=kube-system"

// ExportClusterConfiguration is a command that writes a cluster's ClusterConfiguration to a file, on a control-plane node.
func ExportClusterConfiguration() string {
	return kubeadmKubectl + " get configmap kubeadm-config --output=jsonpath='{.data.ClusterConfiguration}' > " + kubeadmExported
}

// kubeadm runs jobgate as a static pod, and kube-apiserver as kubeadm writes it. Checked against kubeadm 1.36.
func kubeadm(o Options) (Deployment, error) {
	pods := staticPods{target: "kubeadm", folder: kubeadmStaticPods, configFile: kubeadmConfigFile}
	files, err := pods.files(o)
	if err != nil {
		return Deployment{}, err
	}
	start, err := pods.start(o)
	if err != nil {
		return Deployment{}, err
	}
	if len(o.ClusterConfiguration) == 0 {
		return Deployment{Files: files, Steps: []Step{kubeadmCreate(o), start}}, nil
	}
	for i, f := range files {
		if f.Path != path.Join(DeployDir, kubeadmConfigFile) {
			continue
		}
		if files[i].Content, err = MergeClusterConfiguration(o.ClusterConfiguration, f.Content, len(o.Authorizers) > 0); err != nil {
			return Deployment{}, err
		}
	}
	return Deployment{Files: files, Steps: []Step{start, kubeadmUpload(o), kubeadmDiff(o), kubeadmServer()}}, nil
}

func kubeadmCreate(o Options) Step {
	return Step{
		Text: "This machine has no kube-apiserver, so these steps are for a new cluster. (For an existing one, run init on its" +
			" control-plane nodes.) Create the cluster with these settings, to which you may add your own. On further" +
			" control-plane nodes the command is kubeadm join.",
		Commands: []string{"kubeadm init --config=" + deployed(o, kubeadmConfigFile)},
	}
}

// kubeadmUpload does not use kubeadm init phase upload-config: that asks the address of the default route and no other, and hangs
// if kube-apiserver has another one (kubernetes/kubeadm#3313).
func kubeadmUpload(o Options) Step {
	file := deployed(o, kubeadmConfigFile)
	return Step{
		Text: "Once for the cluster (doing it again is harmless): keep a copy of the cluster's configuration, which is the way" +
			" back, and store the one with jobgate. Nothing restarts yet. From now on, a control-plane node that joins needs" +
			" this folder first.",
		Commands: []string{
			"test -s " + kubeadmExported + " || " + ExportClusterConfiguration(),
			"kubeadm config validate --config=" + file + " && " +
				kubeadmKubectl + " create configmap kubeadm-config --from-file=ClusterConfiguration=" + file +
				" --dry-run=client --output=json | " +
				kubeadmKubectl + " patch configmap kubeadm-config --type=merge --patch-file=/dev/stdin",
		},
	}
}

func kubeadmDiff(o Options) Step {
	return Step{
		Text: "On every control-plane node: look at what will change. Expect the four flags, --authorization-mode and the mount" +
			" of " + o.NodeDir + ". Any other change would undo what was edited by hand on this node: put that into the" +
			" cluster's configuration first, and begin again.",
		Commands: []string{"kubeadm upgrade diff"},
	}
}

// kubeadmServer has kubeadm do what it does in every upgrade, without a new version. kubeadm takes the node's own address and
// port from kube-apiserver's present pod, waits for the new one, and restores the old manifest if that does not come.
func kubeadmServer() Step {
	ready := kubeadmKubectl + " wait pod --selector=component=kube-apiserver --for=condition=Ready --timeout=5m"
	return Step{
		Text: "On one control-plane node after the other: have kubeadm write kube-apiserver's manifest again, and wait until" +
			" kube-apiserver has restarted. kubeadm calls this an upgrade, but the version stays. If kube-apiserver does not" +
			" start, kubeadm restores the old manifest.",
		Commands: []string{
			"kubeadm upgrade node phase control-plane --certificate-renewal=false --etcd-upgrade=false",
			waitFor("5m", ready, podLog("kube-apiserver", "kube-apiserver")),
		},
	}
}
