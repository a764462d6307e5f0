package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// badUsage is an error in the command line; the exit status is 2.
func badUsage(format string, args ...any) error {
	return &statusError{code: statusUsage, err: fmt.Errorf(format, args...)}
}

// checkUsage gives errors in a command's flags and arguments the exit status of bad usage.
func checkUsage(cmd *cobra.Command, args cobra.PositionalArgs) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return badUsage("%w; see %s --help", err, cmd.CommandPath())
	})
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return badUsage("%w", err)
		}
		return nil
	}
}
