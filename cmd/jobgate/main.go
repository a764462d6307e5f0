// Command jobgate answers kube-apiserver's question whose CI_JOB_TOKEN this is. It never grants; it identifies.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	command := newCommand()
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl-") {
		// As a plugin it was typed so, and its help must read so.
		command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl jobgate"}
	}
	err := command.ExecuteContext(ctx)
	stop()
	os.Exit(exitStatus(err))
}

// exitStatus says what an error means to the shell, after saying it to the person.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	var status *statusError
	if !errors.As(err, &status) { // it did not come from a command, but from reading the command line
		status = &statusError{code: statusUsage, err: err}
	}
	if status.err != nil {
		fmt.Fprintln(os.Stderr, "jobgate:", status.err)
	}
	return status.code
}

// statusError is a result with its own exit status; err is nil where all has been said.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string { return fmt.Sprintf("exit status %d: %v", e.code, e.err) }

func (e *statusError) Unwrap() error { return e.err }

// badUsage is an error in the command line that only the command itself can find.
func badUsage(format string, args ...any) error {
	return &statusError{code: statusUsage, err: fmt.Errorf(format, args...)}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "jobgate",
		Short: "Let GitLab CI jobs log in to Kubernetes with their CI_JOB_TOKEN",
		Long: "jobgate is kube-apiserver's authentication and authorization webhook for GitLab CI jobs. It turns a job's token into the\n" +
			"user, groups and extras that GitLab documents for the job, and denies what the job may not do here. It never grants:\n" +
			"RBAC does.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	// cobra's own --version brings text/template along, whose use of reflection keeps the linker from leaving out what is
	// not called: 9 MB of program.
	version := root.Flags().Bool("version", false, "print the version")
	root.Args = cobra.NoArgs
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*version {
			return cmd.Help()
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), thisVersion())
		return err
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		newInitCommand(), newServeCommand(), newConfigCommand(), newCertsCommand(), newCheckCommand(), newExplainCommand(), newManifestsCommand(), // for the cluster's admin
		newKubeconfigCommand(), newDoctorCommand(), // in a job
		newVersionCommand(),
	)
	root.AddCommand(developmentCommands()...)
	for _, cmd := range root.Commands() {
		setStatuses(cmd)
	}
	return root
}

// setStatuses gives an error of a command the exit status 1, unless it has its own. A word after a group of commands that
// names none of them is bad usage, where cobra would show the help.
func setStatuses(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		setStatuses(sub)
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args, cmd.DisableFlagsInUseLine = cobra.NoArgs, true
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		var status *statusError
		if err != nil && !errors.As(err, &status) {
			return &statusError{code: statusFailed, err: err}
		}
		return err
	}
}
