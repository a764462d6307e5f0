package install

import "path"

// Where a node keeps the decision log. The folder is jobgate's alone: the steps give it to jobgate's user.
const (
	decisionDir  = "/var/log/jobgate"
	DecisionFile = decisionDir + "/decisions.jsonl"
)

// podDecisions mount the folder of the decision log into a static pod.
func podDecisions(o Options) []substitution {
	if !o.DecisionLog {
		return nil
	}
	const mounts, volumes = "    volumeMounts:\n", "  volumes:\n"
	return []substitution{
		{mounts, mounts + "    - name: decisions\n      mountPath: " + decisionDir + "\n"},
		{volumes, volumes + "  - name: decisions\n    hostPath:\n      path: " + decisionDir + "\n      type: Directory\n"},
	}
}

// unitDecisions let a unit write to the folder of the decision log.
func unitDecisions(o Options) []substitution {
	if !o.DecisionLog {
		return nil
	}
	const writes = "ReadWritePaths="
	return []substitution{{
		writes + path.Join(DefaultNodeDir, PKIDir), writes + path.Join(o.NodeDir, PKIDir) + " " + decisionDir,
	}}
}

// makeDecisions are the commands that make the folder of the decision log; none where there is none.
func makeDecisions(o Options, user string) []string {
	if !o.DecisionLog {
		return nil
	}
	return []string{"install -d -m 0700 -o " + user + " -g " + user + " " + decisionDir}
}
