package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
)

type doctorOptions struct {
	examined doctor.Options
	report   reportOptions
}

const doctorLong = `Find out why this CI job cannot use the cluster, and what to do about it. Run it in the job's script.

It checks the job's variables and token, GitLab's answer about them, the kubeconfig, the connection to the API server and
its certificate, who the job is to the API server, and what it may do there. It changes nothing and shows no part of a token.

The exit status is 0 if nothing has failed, 1 if a check has failed, and 2 for bad usage. A warning does not count as a
failure, unless --fail-on-warning is given.`

const doctorExample = `  # in .gitlab-ci.yml, where a deployment fails
  script:
    - jobgate doctor

  # for an agent without a context in the kubeconfig
  script:
    - jobgate doctor --agent=4 --server="$JOBGATE_URL" --ca="$JOBGATE_CA_FILE"`

func newDoctorCommand() *cobra.Command {
	o := doctorOptions{}
	cmd := &cobra.Command{
		Use:     "doctor [--context NAME] [--agent ID]",
		Short:   "In a CI job: find out why it cannot use the cluster",
		Long:    doctorLong,
		Example: doctorExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return badUsage("%w", err)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.examined.Context, "context", "",
		"the context to check (default that of --agent, else the current one, else $"+cijob.VarContext+", else the only one)")
	f.Int64Var(&o.examined.AgentID, "agent", 0, "the id of the agent to check (default that of the context)")
	f.StringVar(&o.examined.Server, "server", "", "the API server's URL (default the context's, else $"+cijob.VarURL+")")
	addCA(f, &o.examined.CA, "a file with the API server's CA (default the context's, else $"+cijob.VarCAFile+")")
	f.StringVarP(&o.examined.Namespace, "namespace", "n", "", "the namespace to check rights in (default the context's)")
	o.report.add(f)
	return cmd
}

func (o *doctorOptions) check() error {
	if o.examined.AgentID < 0 {
		return fmt.Errorf("--agent is %d: give the id of an agent", o.examined.AgentID)
	}
	return o.report.check()
}

func (o *doctorOptions) run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.report.timeout)
	defer cancel()
	o.examined.Variables, o.examined.UserAgent = os.Getenv, "jobgate/"+versionText()
	r := doctor.Run(ctx, o.examined)
	return o.report.write(out, r, &r.List)
}
