package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
)

// statusFailed is the exit status of doctor if a check has failed.
const statusFailed = 1

// The bounds of --timeout.
const (
	minDoctorTimeout = time.Second
	maxDoctorTimeout = 5 * time.Minute
)

type doctorOptions struct {
	examined      doctor.Options
	output        string
	ascii         bool
	failOnWarning bool
	timeout       time.Duration
}

const doctorLong = `Find out why this CI job cannot use the cluster, and what to do about it. Run it in the job's script.

It checks the job's variables and token, GitLab's answer about them, the kubeconfig, the connection to the API server and
its certificate, who the job is to the API server, and what it may do there. It changes nothing and shows no part of a token.

The exit status is 0 if nothing has failed, 1 if a check has failed, and 2 for bad usage. A warning does not count as a
failure, unless --fail-on-warning is given.`

const doctorExample = `  # in .gitlab-ci.yml, where a deployment fails
  script:
    - jobgate doctor

  # for an agent that the kubeconfig has no context of
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
	addCA(f, &o.examined.CA, "a file with its CA (default the context's, else $"+cijob.VarCAFile+")")
	f.StringVarP(&o.examined.Namespace, "namespace", "n", "", "the namespace to check rights in (default the context's)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.ascii, "ascii", false, "write words instead of signs (default if the output is not a terminal, or TERM is dumb)")
	f.BoolVar(&o.failOnWarning, "fail-on-warning", false, "exit with status 1 after a warning, too")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long all checks together may take, from 1s to 5m")
	return cmd
}

func (o *doctorOptions) check() error {
	switch {
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output is %q: give text or json", o.output)
	case o.timeout < minDoctorTimeout || o.timeout > maxDoctorTimeout:
		return fmt.Errorf("--timeout is %s: give %s to %s", o.timeout, minDoctorTimeout, maxDoctorTimeout)
	case o.examined.AgentID < 0:
		return fmt.Errorf("--agent is %d: give the id of an agent", o.examined.AgentID)
	}
	return nil
}

func (o *doctorOptions) run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	o.examined.Variables, o.examined.UserAgent = os.Getenv, "jobgate/"+versionText()
	report := doctor.Run(ctx, o.examined)
	write := report.WriteJSON
	if o.output == "text" {
		write = func(w io.Writer) error { return report.WriteText(w, !o.ascii && isTerminal(out)) }
	}
	if err := write(out); err != nil {
		return &statusError{code: statusFailed, err: err}
	}
	return o.result(report)
}

// result is an error if the report is one of a failure.
func (o *doctorOptions) result(report *doctor.Report) error {
	if report.State == doctor.Failure || (report.State == doctor.Warning && o.failOnWarning) {
		return &statusError{code: statusFailed}
	}
	return nil
}

// isTerminal says whether the output is likely to show signs beyond ASCII.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
