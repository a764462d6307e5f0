package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in a release: -ldflags "-X main.version=v1.2.3".
var version = ""

// versionText names the release, or else what the build knows of its commit.
func versionText() string {
	if version != "" {
		return version
	}
	revision, modified := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = "+" + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				modified = ".modified"
			}
		}
	}
	return "devel" + revision + modified
}

// versionReport is what version prints for programs.
type versionReport struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

func thisVersion() versionReport {
	return versionReport{Version: versionText(), GoVersion: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
}

func (v versionReport) String() string {
	return fmt.Sprintf("jobgate %s %s %s", v.Version, v.GoVersion, v.Platform)
}

func newVersionCommand() *cobra.Command {
	output := outputFlag{formats: []string{"text", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output.is("json"):
				return writeJSON(cmd.OutOrStdout(), thisVersion())
			case output.is("yaml"):
				return writeYAML(cmd.OutOrStdout(), thisVersion())
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), thisVersion())
			return err
		},
	}
	output.add(cmd)
	return cmd
}
