package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// outputFlag is --output: one of some formats, the first by default.
type outputFlag struct {
	formats []string
	value   string
}

func (o *outputFlag) add(cmd *cobra.Command) {
	o.value = o.formats[0]
	cmd.Flags().VarP(o, "output", "o", "one of "+strings.Join(o.formats, ", "))
}

func (o *outputFlag) is(format string) bool { return o.value == format }

// Set refuses what is no format, which makes it bad usage.
func (o *outputFlag) Set(value string) error {
	if !slices.Contains(o.formats, value) {
		return fmt.Errorf("must be one of %s", strings.Join(o.formats, ", "))
	}
	o.value = value
	return nil
}

func (o *outputFlag) String() string { return o.value }

func (o *outputFlag) Type() string { return "format" }

// writeJSON prints a value for programs.
func writeJSON(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

func writeYAML(out io.Writer, value any) error {
	text, err := yaml.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}
