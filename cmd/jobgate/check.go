package main

import (
	"cmp"
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/check"
	"github.com/jobgate/jobgate/internal/install"
)

// What init writes on a control-plane node, unless it is told otherwise.
const (
	installedConfig = install.DefaultNodeDir + "/" + install.ConfigFile
	installedPKI    = install.DefaultNodeDir + "/" + install.PKIDir
)

type checkOptions struct {
	examined check.Options
	report   reportOptions
}

const checkLong = `Go through an installation on a control-plane node, and say what is wrong and what to do about it. Run it as root.

It checks the configuration, the certificates, whether jobgate listens and is ready, GitLab and the access token, and
kube-apiserver's flags. Then it asks jobgate as kube-apiserver does, and asks the API server about a made-up token and a
made-up job: jobgate must refuse both. It changes nothing. jobgate's log and metrics show the two refusals.

The exit status is 0 if nothing has failed, 1 if a check has failed, and 2 for bad usage. A warning does not count as a
failure, unless --fail-on-warning is given.`

func newCheckCommand() *cobra.Command {
	o := checkOptions{}
	cmd := &cobra.Command{
		Use:   "check [--config FILE] [--pki DIR]",
		Short: "On a control-plane node: find out whether the installation works",
		Long:  checkLong,
		Example: `  # what init has installed
  jobgate check

  # certificates of your own
  jobgate check --config=jobgate.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.report.check(); err != nil {
				return badUsage("%w", err)
			}
			// The directory of a PKI goes with the configuration: who names one file of one's own has named both.
			if o.examined.ConfigFile == "" {
				o.examined.ConfigFile = installedConfig
				o.examined.PKI = cmp.Or(o.examined.PKI, installedPKI)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.examined.ConfigFile, "config", "", "jobgate's configuration file (default "+installedConfig+")")
	f.StringVar(&o.examined.PKI, "pki", "",
		"the folder with jobgate's private CA, if jobgate serve has one (without --config: default "+installedPKI+")")
	f.StringVar(&o.examined.Kubeconfig, "kubeconfig", "",
		"the cluster administrator's kubeconfig (default $KUBECONFIG, else the one that kubeadm, k3s or RKE2 keeps on the node)")
	o.report.add(f)
	return cmd
}

func (o *checkOptions) run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.report.timeout)
	defer cancel()
	o.examined.Environment, o.examined.UserAgent = os.Getenv("KUBECONFIG"), "jobgate/"+versionText()
	list := check.Run(ctx, o.examined)
	return o.report.write(out, list, list)
}
