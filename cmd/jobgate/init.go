package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// imageRepository is where the images of releases are.
const imageRepository = "ghcr.io/jobgate/jobgate"

// errClashes is for files that were changed by hand and that init has another content for.
var errClashes = errors.New("nothing was written: put the lines marked + into these files by hand and add --keep; or add" +
	" --force, which replaces them and keeps copies as FILE.bak")

// initOptions are the flags of init.
type initOptions struct {
	install.Input
	dryRun bool
	output string
}

func newInitCommand() *cobra.Command {
	o := initOptions{}
	cmd := &cobra.Command{
		Use:   "init --target TARGET --gitlab-url URL (--agent ID[=path/to/project:name] | --cluster NAME --grant-project ID)",
		Short: "Write everything that a control plane needs to ask jobgate",
		Long:  initLong(),
		Example: "  jobgate init --target kubeadm --gitlab-url https://gitlab.example.com --agent 4\n" +
			"  jobgate init --target kubeadm --gitlab-url https://gitlab.example.com --cluster prod --grant-project 150\n" +
			"  jobgate init --target systemd --gitlab-url https://gitlab.example.com --gitlab-ca /root/gitlab-ca.crt \\\n" +
			"    --agent 4=path/to/project:production --authorization-config /etc/kubernetes/authorization.yaml --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			if o.Program, err = filepath.EvalSymlinks(program); err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func initLong() string {
	var targets strings.Builder
	for _, t := range install.Targets() {
		fmt.Fprintf(&targets, "  %-10s %s\n", t.Name, t.Summary)
	}
	return "Write everything that a control plane needs to ask jobgate: a configuration, certificates of a private CA, two\n" +
		"kubeconfigs, an AuthorizationConfiguration, and what starts jobgate. Then print kube-apiserver's flags and the\n" +
		"remaining steps. It changes nothing outside its folder.\n\n" +
		"Targets:\n\n" + targets.String() + "\n" +
		"Run it on each control-plane node (for talos once, on any machine). Each node then has its own CA, and no key travels.\n\n" +
		"kubeadm: on a node with a kube-apiserver, init reads that one's flags, asks the cluster for its ClusterConfiguration, and\n" +
		"puts jobgate into copies of what is there. On a machine without one, it prints the steps for a new cluster.\n\n" +
		"Run it again after a change of its flags, or with a newer jobgate. init keeps a file that you have changed. If the file\n" +
		"would also get a new content, init writes nothing at all and shows the difference (--keep, --force).\n" +
		"`sha256sum -c " + conffile.State + "` in the folder lists the files that were changed.\n\n" +
		"kube-apiserver can have one authentication webhook. If it has another one, init refuses: docs/install.md\n" +
		"(\"Another authentication webhook\") says what to do."
}

func (o *initOptions) addFlags(f *pflag.FlagSet) {
	in := &o.Input
	f.StringVar(&in.Target, "target", "", "the kind of control plane, one of the above (required)")
	f.StringVar(&in.GitLabURL, "gitlab-url", "", "the root of the GitLab instance, as in https://gitlab.example.com (required)")
	f.StringArrayVar(&in.Agents, "agent", nil,
		"an agent that represents this cluster: ID or ID=path/to/project:name (repeatable; required without --cluster)")
	f.StringVar(&in.Grant.Cluster, "cluster", "", "the cluster's name, by which jobs log in without an agent: a DNS label that starts with a letter")
	f.Int64SliceVar(&in.Grant.Projects, "grant-project", nil, "the id of a GitLab project whose jobs --cluster admits (repeatable)")
	f.Int64SliceVar(&in.Grant.Groups, "grant-group", nil, "the id of a GitLab group whose projects' jobs --cluster admits (repeatable)")
	f.StringVar(&in.Grant.Audience, "id-token-audience", "", "with --cluster: also accept GitLab's ID tokens for this audience")
	f.StringVar(&in.GitLabTokenFile, "gitlab-token-file", "",
		"where a GitLab access token (read_api) will be on the node (required with --id-token-audience)")
	f.StringVar(&in.GitLabCAFile, "gitlab-ca", "", "a PEM file with the CA of GitLab's certificate, if the system does not know it")
	f.BoolVar(&in.AllowPlainHTTP, "allow-plain-http", false, "accept a --gitlab-url with http: job tokens travel unencrypted")
	f.StringVar(&in.AuthorizersFile, "authorization-config", "",
		"the AuthorizationConfiguration that kube-apiserver has now: init puts jobgate into a copy")
	f.StringVar(&in.ClusterConfigFile, "cluster-configuration", "",
		"for kubeadm: a file with the cluster's ClusterConfiguration, instead of asking the cluster: init puts jobgate into a copy")
	f.StringVar(&in.Dir, "dir", "", "the folder to write here (default --node-dir; for talos ./jobgate-talos)")
	f.StringVar(&in.NodeDir, "node-dir", "",
		"where the folder is on a node (default /etc/kubernetes/jobgate; for talos /var/lib/jobgate)")
	defaults := config.Default().Serving
	f.StringVar(&in.Address, "address", defaults.Address, "where jobgate listens for kube-apiserver, host:port")
	f.StringVar(&in.HealthAddress, "health-address", defaults.HealthAddress,
		"where it serves health and metrics over plain HTTP, host:port")
	f.IntVar(&in.Instances, "instances", 1,
		"how many jobgates run on a node, 1 or 2: of two, one answers while the other restarts (kubeadm, k3s, rke2 and systemd)")
	f.BoolVar(&in.DecisionLog, "decision-log", false,
		"append every decision to "+install.DecisionFile+" on the node, too (kubeadm, k3s, rke2 and systemd)")
	f.StringArrayVar(&in.Hosts, "host", nil,
		"a further DNS name or IP address for jobgate's certificate, besides loopback and --address (repeatable)")
	f.StringVar(&in.Image, "image", defaultImage(), "the container image, if the target runs one (required if jobgate is not a release)")
	f.StringVar(&in.Binary, "binary", "/usr/local/bin/jobgate", "where the program is on a node, if the target runs it")
	f.BoolVar(&in.KeepMine, "keep", false, "keep files that were changed by hand, though init has a new content for them")
	f.BoolVar(&in.TakeNew, "force", false, "replace files that are in conflict, and keep copies as FILE.bak")
	f.BoolVar(&o.dryRun, "dry-run", false, "write nothing; show what each file would become, as a diff")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
}

// defaultImage is the image of this release; empty if this is none.
func defaultImage() string {
	if version == "" {
		return ""
	}
	return imageRepository + ":" + version
}

func (o *initOptions) run(ctx context.Context, out io.Writer) error {
	setup, err := o.Setup(ctx)
	if o.output != "text" && o.output != "json" {
		err = errors.Join(err, fmt.Errorf("--output: %q must be text or json", o.output))
	}
	if err != nil {
		return &statusError{code: statusUsage, err: fmt.Errorf("nothing was written\n%w", err)}
	}
	do := setup.Apply
	if o.dryRun {
		do = setup.Plan
	}
	work, err := do()
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = printReport(out, setup, work, o.dryRun)
	} else {
		err = o.print(out, setup, work)
	}
	if err == nil && len(work.Directory.Clashes()) > 0 {
		err = errClashes
	}
	return err
}

func (o *initOptions) print(out io.Writer, setup *install.Setup, work *install.Work) error {
	dir := setup.Options.Dir
	if clashes := work.Directory.Clashes(); len(clashes) > 0 {
		for _, c := range clashes {
			fmt.Fprintf(out, "conflict in %s: %s\n%s\n", filepath.Join(dir, c.Path), c.Why, c.Diff(dir))
		}
		return nil
	}
	if o.dryRun {
		return showPlan(out, dir, work)
	}
	showResult(out, dir, work)
	showNotes(out, setup.Notes)
	showFlags(out, work)
	return showSteps(out, setup, work)
}
