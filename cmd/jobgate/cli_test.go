package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const cliPage = root + "docs/cli.md"

// docs/cli.md has every command and flag, as --help has them. UPDATE_DOCS=1 rewrites it.
func TestCLIPage(t *testing.T) {
	want := writeCLIPage(newCommand())
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(cliPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(cliPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("run UPDATE_DOCS=1 go test -run TestCLIPage ./cmd/jobgate (-commands +page):\n%s", diff)
	}
}

func TestServe_HelpHasNoAlphaFlags(t *testing.T) {
	if flags := newServeCommand().Flags().FlagUsages(); strings.Contains(flags, "[Alpha]") || !strings.Contains(flags, "--logging-format") {
		t.Error(flags)
	}
}

func writeCLIPage(top *cobra.Command) string {
	var page strings.Builder
	page.WriteString("# Commands\n\nEvery command and flag, as `--help` shows them. A test compares this page with the program.\n\n" +
		"Exit status: 0 for success, 1 for a failure, 2 for bad usage.\n")
	var write func(*cobra.Command)
	write = func(cmd *cobra.Command) {
		if cmd.Runnable() && cmd.HasParent() && !cmd.HasAvailableSubCommands() {
			writeCLICommand(&page, cmd)
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && sub.Name() != "help" && sub.Name() != "completion" {
				write(sub)
			}
		}
	}
	write(top)
	return page.String()
}

func writeCLICommand(page *strings.Builder, cmd *cobra.Command) {
	description := cmd.Long
	if description == "" {
		description = cmd.Short + "."
	}
	// A table of the help becomes a list.
	description = strings.ReplaceAll(prosaic(description), "\n  ", "\n- ")
	fmt.Fprintf(page, "\n## %s\n\n`%s`\n\n%s\n", cmd.CommandPath(), cmd.UseLine(), description)
	var flags []string
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			flags = append(flags, describeFlag(f))
		}
	})
	if len(flags) > 0 {
		fmt.Fprintf(page, "\n| flag | |\n| --- | --- |\n%s\n", strings.Join(flags, "\n"))
	}
}

func describeFlag(f *pflag.Flag) string {
	kind, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if kind != "" {
		name += " " + kind
	}
	if zero := f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" || f.DefValue == "0s" || f.DefValue == "[]"; !zero {
		usage += fmt.Sprintf(" (default `%s`)", f.DefValue)
	}
	return "| `" + name + "` | " + strings.ReplaceAll(prosaic(usage), "|", "\\|") + " |"
}

// prosaic keeps Markdown from taking a part of plain text for markup.
func prosaic(text string) string {
	return strings.NewReplacer("<", "\\<", "*", "\\*", "_", "\\_").Replace(text)
}
