package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Work with the configuration file"}
	cmd.AddCommand(&cobra.Command{
		Use:   "validate FILE",
		Short: "Check a configuration file, and every file it names, without starting anything",
		Long: "Check a configuration file, and every file it names, without starting anything.\n" +
			"All problems are listed at once, each with its file, line and key. The exit status is 0 if there is none, else 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := config.Load(args[0]); err != nil {
				return fmt.Errorf("configuration is not valid\n%w", err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", args[0])
			return err
		},
	})
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file",
		Long: "Print the JSON Schema of the configuration file, for editors and pipelines.\n" +
			"An editor finds it by the first line of the file: # yaml-language-server: $schema=FILE",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(schema)
			return err
		},
	})
	return cmd
}
