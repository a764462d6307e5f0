package install

import (
	"fmt"
	"os"
	"path"
)

// stepsBefore copy the directory to the node, and give the keys to jobgate's user.
func (s *Setup) stepsBefore() []Step {
	o := s.Options
	owner := fmt.Sprintf("%d:%[1]d", nonRoot)
	chown := "chown -R " + owner + " " + path.Join(o.NodeDir, PKIDir)
	switch {
	case s.target.Dir != "":
		return nil
	case !s.onNode():
		return []Step{{
			Text: "Copy the folder to " + o.NodeDir + " on the control-plane node, and give the keys to the user that jobgate runs as.",
			Commands: []string{
				"NODE=192.0.2.10   # the node's address",
				"tar -C " + shellQuote(o.Dir) + ` -cf - . | ssh "root@$NODE" 'mkdir -p ` + o.NodeDir + " && tar -C " + o.NodeDir +
					" --no-same-owner -xpf - && " + chown + "'",
			},
		}}
	case os.Geteuid() != 0:
		return []Step{{
			Text:     "As root: give the keys to the user that jobgate runs as.",
			Commands: []string{chown},
		}}
	}
	return nil
}

// stepsAfter check the installation.
func (s *Setup) stepsAfter() []Step {
	if s.target.Dir != "" {
		return nil // its nodes have no shell
	}
	o := s.Options
	return []Step{{
		Text: "Check the whole installation. If a line has failed, it says what to do. Then run kubectl auth whoami in a CI job: it says who" +
			" the job is.",
		Commands: []string{
			shellQuote(o.Program) + " check --config=" + path.Join(o.NodeDir, ConfigFile) + " --pki=" + path.Join(o.NodeDir, PKIDir),
		},
	}}
}

// OtherNodes says what to do on further control-plane nodes; empty if the steps say it.
func (s *Setup) OtherNodes() string {
	if s.target.Dir != "" {
		return ""
	}
	return "On further control-plane nodes, repeat the command and the steps. Each node has its own CA," +
		" so no key travels."
}
