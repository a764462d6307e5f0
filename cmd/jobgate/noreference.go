//go:build !reference

package main

import "github.com/spf13/cobra"

// developmentCommands are left out of a release.
func developmentCommands() []*cobra.Command { return nil }
