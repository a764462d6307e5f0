//go:build reference

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// developmentCommands are not in a release: they write what lies beside the program in it.
func developmentCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "reference DIR",
		Short:  "Write man pages and shell completions",
		Args:   cobra.ExactArgs(1),
		Hidden: true,
		RunE:   func(cmd *cobra.Command, args []string) error { return writeReference(cmd.Root(), args[0]) },
	}}
}

// writeReference writes DIR/man/man1/*.1 and DIR/completions/SHELL. SOURCE_DATE_EPOCH is the date of the pages.
func writeReference(root *cobra.Command, dir string) error {
	manuals, completions := filepath.Join(dir, "man", "man1"), filepath.Join(dir, "completions")
	for _, folder := range []string{manuals, completions} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("write the reference: %w", err)
		}
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Section: "1", Source: "jobgate " + versionText(), Manual: "jobgate"}
	if err := doc.GenManTree(root, header, manuals); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	for shell, write := range map[string]func(string) error{
		"bash":       func(file string) error { return root.GenBashCompletionFileV2(file, true) },
		"zsh":        root.GenZshCompletionFile,
		"fish":       func(file string) error { return root.GenFishCompletionFile(file, true) },
		"powershell": root.GenPowerShellCompletionFileWithDesc,
	} {
		if err := write(filepath.Join(completions, shell)); err != nil {
			return fmt.Errorf("write the completion for %s: %w", shell, err)
		}
	}
	return nil
}
