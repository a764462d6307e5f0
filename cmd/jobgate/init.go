package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// imageRepository is where releases are; a build that is none takes their latest.
const imageRepository = "ghcr.io/jobgate/jobgate"

// errClashes is for files that somebody changed and that init has another content for.
var errClashes = errors.New("nothing was written: put the lines marked + into these files by hand and give --keep, or give" +
	" --force, which keeps a copy of each as FILE.bak")

func newInitCommand() *cobra.Command {
	in := install.Input{}
	dryRun := false
	cmd := &cobra.Command{
		Use:   "init --target TARGET --gitlab-url URL --agent ID[=path/to/project:name]",
		Short: "Write everything that a control plane needs to ask jobgate",
		Long:  initLong(),
		Example: "  jobgate init --target kubeadm --gitlab-url https://gitlab.example.com --agent 4 \\\n" +
			"    --cluster-configuration /root/cluster-configuration.yaml\n" +
			"  jobgate init --target systemd --gitlab-url https://gitlab.example.com --gitlab-ca /root/gitlab-ca.crt \\\n" +
			"    --agent 4=path/to/project:production --authorization-config /etc/kubernetes/authorization.yaml --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			if in.Program, err = filepath.EvalSymlinks(program); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return initialize(cmd.OutOrStdout(), in, dryRun)
		},
	}
	addInitFlags(cmd, &in)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "write nothing; show what each file would become, as a diff")
	for _, name := range []string{"target", "gitlab-url", "agent"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a misspelt flag name
		}
	}
	return cmd
}

func initLong() string {
	var targets strings.Builder
	for _, t := range install.Targets() {
		fmt.Fprintf(&targets, "  %-10s %s\n", t.Name, t.Summary)
	}
	return "Write everything that a control plane needs to ask jobgate: a configuration, certificates of a private CA, two\n" +
		"kubeconfigs, an AuthorizationConfiguration, and what starts jobgate. Then print kube-apiserver's flags and the\n" +
		"remaining steps. It changes nothing outside of its folder, and asks neither the cluster nor GitLab.\n\n" +
		"Targets:\n\n" + targets.String() + "\n" +
		"Run it on each control-plane node (for talos once, anywhere): each then has a CA of its own, and no key travels.\n\n" +
		"Run it again after a change of its flags, or with a newer jobgate. A file that you have changed since stays as it is;\n" +
		"if init, too, has something new for it, nothing at all is written, and the difference is shown (--keep, --force).\n" +
		"`sha256sum -c " + conffile.State + "` in the folder says which files were changed.\n\n" +
		"A kubeadm cluster that is there already has a ClusterConfiguration. Export it on the node, and give the file with\n" +
		"--cluster-configuration:\n\n  " + install.ExportClusterConfiguration() + "\n\n" +
		"kube-apiserver has one authentication webhook. If it has another already, jobgate cannot be added to it."
}

func addInitFlags(cmd *cobra.Command, in *install.Input) {
	f := cmd.Flags()
	f.StringVar(&in.Target, "target", "", "the kind of control plane, one of the above (required)")
	f.StringVar(&in.GitLabURL, "gitlab-url", "", "the root of the GitLab instance, as in https://gitlab.example.com (required)")
	f.StringArrayVar(&in.Agents, "agent", nil,
		"an agent that stands for this cluster: ID or ID=path/to/project:name (required, repeatable)")
	f.StringVar(&in.GitLabCAFile, "gitlab-ca", "", "a PEM file with the CA of GitLab's certificate, if the system does not know it")
	f.BoolVar(&in.AllowPlainHTTP, "allow-plain-http", false, "accept a --gitlab-url with http: job tokens travel unencrypted")
	f.StringVar(&in.AuthorizersFile, "authorization-config", "",
		"the AuthorizationConfiguration that kube-apiserver has now: jobgate is put into a copy, all else stays as it is")
	f.StringVar(&in.ClusterConfigFile, "cluster-configuration", "",
		"for kubeadm: the ClusterConfiguration that the cluster has now: jobgate is put into a copy, all else stays as it is")
	f.StringVar(&in.Dir, "dir", "", "the folder to write here (default --node-dir; for talos ./jobgate-talos)")
	f.StringVar(&in.NodeDir, "node-dir", "",
		"where the folder lies on a node (default /etc/kubernetes/jobgate; for talos /var/lib/jobgate)")
	defaults := config.Default().Serving
	f.StringVar(&in.Address, "address", defaults.Address, "where jobgate listens for kube-apiserver, host:port")
	f.StringVar(&in.HealthAddress, "health-address", defaults.HealthAddress,
		"where it serves health and metrics over plain HTTP, host:port")
	f.StringArrayVar(&in.Hosts, "host", nil,
		"a further DNS name or IP address for jobgate's certificate, besides loopback and --address (repeatable)")
	f.StringVar(&in.Image, "image", defaultImage(), "the container image, where the target runs one")
	f.StringVar(&in.Binary, "binary", "/usr/local/bin/jobgate", "where the program lies on a node, where the target runs that")
	f.BoolVar(&in.KeepMine, "keep", false, "keep files that were changed by hand, though init has something new for them")
	f.BoolVar(&in.TakeNew, "force", false, "replace files that were changed by hand or are not from init; a copy stays as FILE.bak")
}

func defaultImage() string {
	if version == "" {
		return imageRepository + ":latest"
	}
	return imageRepository + ":" + version
}

func initialize(out io.Writer, in install.Input, dryRun bool) error {
	setup, err := in.Setup()
	if err != nil {
		return fmt.Errorf("nothing was written\n%w", err)
	}
	dir := setup.Options.Dir
	do := setup.Apply
	if dryRun {
		do = setup.Plan
	}
	work, err := do()
	if err != nil {
		return err
	}
	if clashes := work.Directory.Clashes(); len(clashes) > 0 {
		for _, c := range clashes {
			fmt.Fprintf(out, "conflict in %s: %s\n%s\n", filepath.Join(dir, c.Path), c.Why, c.Diff(dir))
		}
		return errClashes
	}
	if dryRun {
		return showPlan(out, dir, work)
	}
	showResult(out, dir, work)
	showFlags(out, work)
	return showSteps(out, setup, work)
}

// showPlan shows what would change.
func showPlan(out io.Writer, dir string, work *install.Work) error {
	for _, c := range work.Directory.Changes {
		switch {
		case c.Outcome.Writes():
			fmt.Fprint(out, c.Diff(dir))
		case c.Outcome == conffile.Keep:
			fmt.Fprintf(out, "would keep %s: %s\n", c.Path, c.Why)
		}
	}
	for _, c := range issued(work) {
		fmt.Fprintf(out, "would issue %s: %s\n", pkiPath(c), c.Why)
	}
	_, err := fmt.Fprintln(out, "Nothing was written: this was a dry run.")
	return err
}

// showResult says what became of each file.
func showResult(out io.Writer, dir string, work *install.Work) {
	fmt.Fprintln(out, dir+":")
	for _, c := range work.Directory.Changes {
		detail := ""
		switch c.Outcome {
		case conffile.Keep:
			detail = "  (" + c.Why + ")"
		case conffile.Replace:
			detail = "  (what was there is now " + c.Backup + ")"
		case conffile.Extra:
			detail = "  (from an earlier init; remove it when nothing uses it)"
		}
		fmt.Fprintf(out, "  %-10s %s%s\n", c.Outcome, c.Path, detail)
	}
	for _, c := range issued(work) {
		fmt.Fprintf(out, "  %-10s %s  (%s)\n", "issued", pkiPath(c), c.Why)
	}
	if !work.Directory.Writes() && len(work.Certificates) == 0 {
		fmt.Fprintln(out, "Nothing changed.")
	}
}

// issued are the changes of the PKI but for its folder's own.
func issued(work *install.Work) []certs.Change {
	return slices.DeleteFunc(slices.Clone(work.Certificates), func(c certs.Change) bool { return c.File == "." })
}

func pkiPath(c certs.Change) string { return filepath.Join(install.PKIDir, c.File) }

// showFlags prints one flag a line, for people and for programs.
func showFlags(out io.Writer, work *install.Work) {
	fmt.Fprintln(out, "\nkube-apiserver's flags (--authorization-config takes the place of --authorization-mode):")
	for _, f := range work.Flags {
		fmt.Fprintf(out, "    %s\n", f)
	}
}

func showSteps(out io.Writer, setup *install.Setup, work *install.Work) error {
	fmt.Fprintln(out, "\nNext steps:")
	for i, step := range work.Steps {
		fmt.Fprintf(out, "\n%d. %s\n", work.FirstStep+i, wrap(step.Text, "   "))
		for _, command := range step.Commands {
			fmt.Fprintf(out, "       %s\n", command)
		}
	}
	if note := setup.OtherNodes(); note != "" {
		fmt.Fprintf(out, "\n%s\n", wrap(note, ""))
	}
	return nil
}

// lineWidth is how long a line of running text may be, without its indentation; a path that is longer stays whole.
const lineWidth = 100

// wrap breaks text into lines, of which all but the first are indented.
func wrap(text, indent string) string {
	var wrapped strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > lineWidth:
			wrapped.WriteString("\n" + indent)
			column = 0
		default:
			wrapped.WriteString(" ")
			column++
		}
		wrapped.WriteString(word)
		column += len(word)
	}
	return wrapped.String()
}
