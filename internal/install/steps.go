package install

import (
	"fmt"
	"os"
	"path"
)

// stepsBefore bring the directory to the node, with owners that let jobgate read its keys.
func (s *Setup) stepsBefore() []Step {
	o := s.Options
	owner := fmt.Sprintf("%d:%d", s.target.UID, s.target.GID)
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

// stepsAfter check what the others have done.
func (s *Setup) stepsAfter() []Step {
	if s.target.Dir != "" {
		return nil // nothing is typed on its nodes
	}
	o := s.Options
	return []Step{{
		Text: "Check: jobgate is ready, and its certificates are good. In a CI job, kubectl auth whoami then says who the job is.",
		Commands: []string{
			"curl --silent --show-error " + HealthURL(o) + "/readyz",
			shellQuote(o.Program) + " certs show --pki=" + path.Join(o.NodeDir, PKIDir),
		},
	}}
}

// OtherNodes says what is to be done on further control-plane nodes; empty where the steps do.
func (s *Setup) OtherNodes() string {
	if s.target.Dir != "" {
		return ""
	}
	return "Further control-plane nodes: the same command and the same steps on each. Each node's jobgate has a CA of its own," +
		" so no key travels."
}
