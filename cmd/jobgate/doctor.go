package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/doctor"
)

// The exit statuses of doctor, by the worst finding.
const (
	statusWarning     = 1
	statusFailure     = 2
	statusDoctorUsage = 3
)

// The bounds of --timeout.
const (
	minDoctorTimeout = time.Second
	maxDoctorTimeout = 5 * time.Minute
)

type doctorOptions struct {
	examined doctor.Options
	output   string
	noColor  bool
	timeout  time.Duration
}

const doctorLong = `Find out why this CI job cannot use the cluster, and what to do about it. Run it in the job's script.

It checks the job's variables and token, what GitLab says of them, the kubeconfig, the way to the API server and its
certificate, whom the API server takes the job for, and what it may do. It changes nothing. Nothing of a token is shown.

The exit status is 0 when all is well, 1 with a warning, 2 with a failure, 3 for bad usage.`

const doctorExample = `  # in .gitlab-ci.yml, where a deployment fails; --agent for an agent that the job has no context of
  script:
    - jobgate doctor
    - jobgate doctor --agent=4 --server="$JOBGATE_URL" --certificate-authority="$JOBGATE_CA_FILE"`

func newDoctorCommand() *cobra.Command {
	o := doctorOptions{}
	cmd := &cobra.Command{
		Use:     "doctor [--context NAME] [--agent ID]",
		Short:   "In a CI job: find out why it cannot use the cluster",
		Long:    doctorLong,
		Example: doctorExample,
		Args: func(cmd *cobra.Command, args []string) error {
			return badUsage(cmd, cobra.NoArgs(cmd, args))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return badUsage(cmd, err)
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.SetFlagErrorFunc(badUsage)
	f := cmd.Flags()
	f.StringVar(&o.examined.Context, "context", "",
		"the context to examine (default that of --agent, the current one, $JOBGATE_CONTEXT, or the only one)")
	f.Int64Var(&o.examined.AgentID, "agent", 0, "the id of the agent in question (default that of the context)")
	f.StringVar(&o.examined.Server, "server", "", "the API server's URL (default the context's, or $JOBGATE_URL)")
	f.StringVar(&o.examined.CA, "certificate-authority", "", "a file with its CA (default the context's, or $JOBGATE_CA_FILE)")
	f.StringVarP(&o.examined.Namespace, "namespace", "n", "", "where to ask what the job may do (default the context's)")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.BoolVar(&o.noColor, "no-color", false, "words instead of signs, as when the output is no terminal, or TERM is dumb")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long it all may take, from 1s to 5m")
	return cmd
}

func badUsage(_ *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	return &statusError{code: statusDoctorUsage, err: err}
}

func (o *doctorOptions) check() error {
	switch {
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output is %q, want text or json", o.output)
	case o.timeout < minDoctorTimeout || o.timeout > maxDoctorTimeout:
		return fmt.Errorf("--timeout is %s, want %s to %s", o.timeout, minDoctorTimeout, maxDoctorTimeout)
	case o.examined.AgentID < 0:
		return fmt.Errorf("--agent is %d, want the id of an agent", o.examined.AgentID)
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
		write = func(w io.Writer) error { return report.WriteText(w, !o.noColor && isTerminal(out)) }
	}
	if err := write(out); err != nil {
		return &statusError{code: statusFailure, err: err}
	}
	switch report.State {
	case doctor.Failure:
		return &statusError{code: statusFailure}
	case doctor.Warning:
		return &statusError{code: statusWarning}
	default:
		return nil
	}
}

// isTerminal says whether signs beyond ASCII are likely to be shown as what they are.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
