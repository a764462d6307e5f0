package install

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/certs"
)

// Files of DeployDir for systemd, and what the unit in the repository shows where every node may have its own.
const (
	unitFile     = "jobgate.service"
	shownCommand = shownBinary + " serve --config=" + DefaultNodeDir + "/" + ConfigFile + " --pki=" + DefaultNodeDir + "/" + PKIDir
	sysusersFile = "jobgate.sysusers.conf"
	shownBinary  = "/usr/local/bin/jobgate"
)

// Errors about paths that the unit names.
var (
	errRelative = errors.New("it is not an absolute path")
	errHidden   = errors.New("it is in a folder of users, which the unit hides from jobgate (ProtectHome)")
)

// systemd runs jobgate as a service of the node. Its user has the same number as in jobgate's image, so that init can give the
// keys to a user that does not exist yet.
func systemd(o Options) (Deployment, error) {
	directory, err := nodeDirectory(DefaultNodeDir, o)
	for flag, file := range map[string]string{"--binary": o.Binary, "--node-dir": o.NodeDir} {
		if fileErr := errors.Join(checkPlain("path", file, "/._-"), checkUnitPath(file)); fileErr != nil {
			err = errors.Join(err, &optionError{flag, fileErr})
		}
	}
	if err != nil {
		return Deployment{}, err
	}
	all, err := instances(o)
	if err != nil {
		return Deployment{}, err
	}
	var files []File
	for _, i := range all {
		command := strings.Join(slices.Concat([]string{o.Binary}, ServeArgs(o.NodeDir), i.args(o)), " ")
		substitutions := append(unitDecisions(o), substitution{shownCommand, command}, directory)
		unit, err := deployAs("systemd", unitFile, i.unit(), substitutions...)
		if err != nil {
			return Deployment{}, err
		}
		files = append(files, unit)
	}
	user, err := deployFile("systemd", sysusersFile)
	if err != nil {
		return Deployment{}, err
	}
	return Deployment{Files: append(files, user), Steps: systemdSteps(o, all)}, nil
}

// unit is the name of the instance's unit.
func (i instance) unit() string { return "jobgate" + i.suffix + ".service" }

func checkUnitPath(file string) error {
	if !path.IsAbs(file) {
		return fmt.Errorf("%s: %w", file, errRelative)
	}
	for _, hidden := range []string{"/home", "/root", "/run/user"} {
		if strings.HasPrefix(file+"/", hidden+"/") {
			return fmt.Errorf("%s: %w", file, errHidden)
		}
	}
	return nil
}

func systemdSteps(o Options, all []instance) []Step {
	var steps []Step
	if o.Program != o.Binary {
		steps = append(steps, Step{
			Text:     "Put the program where the service starts it.",
			Commands: []string{"install -D -m 0755 " + shellQuote(o.Program) + " " + o.Binary},
		})
	}
	return append(steps,
		Step{
			Text: "Create the user that jobgate runs as, give it the certificates, and check that it can read everything.",
			Commands: slices.Concat([]string{
				"install -D -m 0644 " + deployed(o, sysusersFile) + " /etc/sysusers.d/jobgate.conf",
				"systemd-sysusers /etc/sysusers.d/jobgate.conf",
				"chown -R jobgate:jobgate " + path.Join(o.NodeDir, PKIDir),
			}, makeDecisions(o, "jobgate"), []string{
				"runuser -u jobgate -- " + o.Binary + " config validate " + path.Join(o.NodeDir, ConfigFile),
			}),
		},
		systemdStart(o, all),
		Step{
			Text: "Give this node's kube-apiserver the flags above, remove --authorization-mode and every --authorization-webhook-*," +
				" and restart it. If it runs in a container, mount the folder " + o.NodeDir + " at the same path, read-only." +
				" If it does not run as root, add its user to the group jobgate and give" +
				" " + path.Join(o.NodeDir, PKIDir, certs.ClientFile) + " the mode 0640, which renewals keep.",
		},
	)
}

func systemdStart(o Options, all []instance) Step {
	var commands, restarts []string
	var units []string
	for _, i := range all {
		units = append(units, i.unit())
		commands = append(commands, "install -m 0644 "+deployed(o, i.unit())+" /etc/systemd/system/"+i.unit())
		restarts = append(restarts, "systemctl restart "+i.unit(),
			waitFor("2m", "curl --silent --fail "+i.ready(), "journalctl --unit="+i.unit()+" --lines=20 --no-pager"))
	}
	commands = append(commands, "systemctl daemon-reload", "systemctl enable "+strings.Join(units, " "))
	text := "Start jobgate, now and with the node, and wait until it is ready. If it is not ready after two minutes, the" +
		" command shows the end of its log."
	if o.Second {
		text = "Start two jobgates, now and with the node, one after the other: the other one answers while one restarts, so repeat" +
			" this step for every upgrade. If one is not ready after two minutes, the command shows the end of its log, and you" +
			" stop here."
	}
	return Step{Text: text, Commands: append(commands, restarts...)}
}

// shellQuote is one word for a shell.
func shellQuote(word string) string {
	if checkPlain("word", word, "/._-:@=+,") == nil {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
