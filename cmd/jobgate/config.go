package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/jobgate/jobgate/internal/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Work with the configuration file"}
	cmd.AddCommand(newConfigValidateCommand(), newConfigSchemaCommand())
	return cmd
}

func newConfigValidateCommand() *cobra.Command {
	output := outputFlag{formats: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "validate [FILE]",
		Short: "Check a configuration file, and every file it names, without starting anything",
		Long: "Check a configuration file (default " + installedConfig + "),\nand every file it names, without starting anything.\n" +
			"All problems are listed at once, each with its file, line and key. Warnings name what is valid but unwise, such as a key\n" +
			"that every user may read. The exit status is 0 if the file is valid, with or without warnings, 1 if it is not, and 2\n" +
			"for bad usage.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := append(args, installedConfig)[0]
			configuration, err := config.Load(file)
			if output.is("json") {
				return reportConfig(cmd.OutOrStdout(), file, configuration, err)
			}
			if err != nil {
				return fmt.Errorf("configuration is not valid\n%w", err)
			}
			for _, warning := range configuration.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s:%s\n", file, warning)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", file)
			return err
		},
	}
	output.add(cmd)
	return cmd
}

// configReport is what config validate prints with --output=json.
type configReport struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Problems []config.Problem `json:"problems"`
	// Omitted counts further problems.
	Omitted  int              `json:"omitted"`
	Warnings []config.Problem `json:"warnings"`
}

// reportConfig prints what is wrong with a file; that the file cannot be read is an error.
func reportConfig(out io.Writer, path string, c *config.Configuration, err error) error {
	report := configReport{File: path, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	var invalid *config.Error
	switch {
	case errors.As(err, &invalid):
		report.Problems, report.Omitted = invalid.Problems, invalid.Omitted
	case err != nil:
		return err
	default:
		report.Valid, report.Warnings = true, append(report.Warnings, c.Warnings...)
	}
	if err := writeJSON(out, report); err != nil || report.Valid {
		return err
	}
	return &statusError{code: statusFailed}
}

func newConfigSchemaCommand() *cobra.Command {
	return &cobra.Command{
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
	}
}
