package install

// Files of DeployDir for kustomize.
const (
	kustomizationFile  = "kustomization.yaml"
	namespaceFile      = "namespace.yaml"
	serviceAccountFile = "serviceaccount.yaml"
	daemonSetFile      = "daemonset.yaml"
	// flagsFile is no part of the kustomization: how kube-apiserver gets its flags depends on who manages it.
	flagsFile = "kube-apiserver.flags"
)

// kustomize runs jobgate as a DaemonSet on the control-plane nodes, for a kube-apiserver that is managed by other means than
// those of the other targets.
func kustomize(o Options) (Deployment, error) {
	pod, err := podSubstitutions(DefaultNodeDir, o, o.HealthAddress)
	if err != nil {
		return Deployment{}, err
	}
	directory, err := nodeDirectory(DefaultNodeDir, o)
	if err != nil {
		return Deployment{}, err
	}
	var files []File
	for _, f := range []struct {
		name          string
		substitutions []substitution
	}{
		{kustomizationFile, nil},
		{namespaceFile, nil},
		{serviceAccountFile, nil},
		{daemonSetFile, pod},
		{flagsFile, []substitution{directory}},
	} {
		file, err := deployFile("kustomize", f.name, f.substitutions...)
		if err != nil {
			return Deployment{}, err
		}
		files = append(files, file)
	}
	return Deployment{Files: files, Steps: kustomizeSteps(o)}, nil
}

func kustomizeSteps(o Options) []Step {
	return []Step{
		{
			Text: "When every control-plane node has the folder: start jobgate there, and wait until it is ready.",
			Commands: []string{
				"kubectl apply -k " + deployed(o, ""),
				"kubectl --namespace=jobgate rollout status daemonset/jobgate --timeout=5m",
			},
		},
		{
			Text: "On one node after the other, with the tool that manages your control plane: give kube-apiserver these flags," +
				" remove --authorization-mode, and let it read " + o.NodeDir + " at the same path.",
			Commands: []string{"cat " + deployed(o, flagsFile)},
		},
	}
}
