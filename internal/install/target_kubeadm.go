package install

import "path"

// kubeadmConfigFile is a ClusterConfiguration: the cluster's with jobgate in it, or one with nothing but what jobgate needs.
const kubeadmConfigFile = "cluster-configuration.yaml"

// Where kubeadm and the admin who follows the steps have their files; on a control-plane node, absolute.
const (
	kubeadmStaticPods = "/etc/kubernetes/manifests"
	kubeadmExported   = "/root/cluster-configuration.yaml"
)

// kubeadmKubectl is kubectl as the cluster's administrator, as far as that is about the namespace of kubeadm's objects.
const kubeadmKubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf --namespace=kube-system"

// ExportClusterConfiguration is a command that writes to a file what Options.ClusterConfiguration is to hold. It is for a
// control-plane node of kubeadm's.
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
		return Deployment{Files: files, Steps: []Step{kubeadmExport(), kubeadmCreate(o), start}}, nil
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

func kubeadmExport() Step {
	return Step{
		Text: "Only for a cluster that is there already: write its configuration to a file, and run this init again with" +
			" --cluster-configuration=" + kubeadmExported + ". The steps are then other ones.",
		Commands: []string{ExportClusterConfiguration()},
	}
}

func kubeadmCreate(o Options) Step {
	return Step{
		Text: "For a new cluster: create it with these settings (add your own to the file). On further control-plane nodes" +
			" it is kubeadm join.",
		Commands: []string{"kubeadm init --config=" + deployed(o, kubeadmConfigFile)},
	}
}

// kubeadmUpload leaves kubeadm init phase upload-config alone, which asks no configured address but that of the default
// route, and hangs where kube-apiserver has another one (kubernetes/kubeadm#3313).
func kubeadmUpload(o Options) Step {
	file := deployed(o, kubeadmConfigFile)
	return Step{
		Text: "Once (again does no harm): make it the cluster's configuration, which kubeadm starts from. Nothing restarts yet." +
			" From now on a control-plane node that joins needs this directory first. Keep a copy of " + kubeadmExported +
			" as it is now: it is the way back.",
		Commands: []string{
			"kubeadm config validate --config=" + file + " && " +
				kubeadmKubectl + " create configmap kubeadm-config --from-file=ClusterConfiguration=" + file +
				" --dry-run=client --output=json | " +
				kubeadmKubectl + " patch configmap kubeadm-config --type=merge --patch-file=/dev/stdin",
		},
	}
}

func kubeadmDiff(o Options) Step {
	return Step{
		Text: "On every control-plane node: look at what would change. That has to be the four flags," +
			" --authorization-mode and the mount of " + o.NodeDir + ". Anything else was set by hand on this node, and would go:" +
			" put it into the cluster's configuration first, and begin anew.",
		Commands: []string{"kubeadm upgrade diff"},
	}
}

// kubeadmServer has kubeadm do what it does in every upgrade, without a new version. The node's own address and port are
// then taken from kube-apiserver's present pod; kubeadm waits for the new one, and brings the former back if it does not
// come.
func kubeadmServer() Step {
	return Step{
		Text: "On every control-plane node, one after the other: have kubeadm write kube-apiserver's manifest anew, and wait" +
			" until it has restarted. kubeadm calls that an upgrade; the version stays. If kube-apiserver does not start," +
			" kubeadm brings the former manifest back.",
		Commands: []string{
			"kubeadm upgrade node phase control-plane --certificate-renewal=false --etcd-upgrade=false && " +
				"until " + kubeadmKubectl + " wait pod --selector=component=kube-apiserver --for=condition=Ready --timeout=5m;" +
				" do sleep 2; done",
		},
	}
}
