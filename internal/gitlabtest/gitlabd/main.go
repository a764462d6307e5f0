// Command gitlabd runs a fake GitLab (internal/gitlabtest) as a process: for the demo, and for tests that need GitLab
// to outlive them or to run beside them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func main() {
	if err := execute(); err != nil {
		os.Exit(1) // cobra has printed it
	}
}

func execute() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return newCommand().ExecuteContext(ctx)
}

type flags struct {
	listen, control, world, caFile, relativeURLRoot string
	tls                                             bool
}

func newCommand() *cobra.Command {
	var f flags
	command := &cobra.Command{
		Use:   "gitlabd",
		Short: "Run a fake GitLab with a remote control on loopback addresses",
		Long: `gitlabd runs a fake GitLab and its remote control until SIGTERM or SIGINT. Once both listen it prints one line:

    gitlab=<URL of the instance> control=<URL of the remote control>`,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), f, cmd.OutOrStdout())
		},
	}
	command.Flags().StringVar(&f.listen, "listen", "127.0.0.1:0", "loopback `address` of the instance")
	command.Flags().StringVar(&f.control, "control", "127.0.0.1:0", "loopback `address` of the remote control")
	command.Flags().StringVar(&f.world, "world", "", "`file` with the state to begin with, YAML or JSON")
	command.Flags().BoolVar(&f.tls, "tls", false, "serve HTTPS with a CA made at the start")
	command.Flags().StringVar(&f.caFile, "ca-file", "", "`file` to write the CA to, with --tls")
	command.Flags().StringVar(&f.relativeURLRoot, "relative-url-root", "",
		"`path` that everything lies under, such as /gitlab")
	return command
}

// run serves until the context ends.
func run(ctx context.Context, f flags, out io.Writer) error {
	if f.caFile != "" && !f.tls {
		return errors.New("--ca-file needs --tls")
	}
	world, err := readInstance(f.world)
	if err != nil {
		return err
	}
	server, err := gitlabtest.Start(gitlabtest.Options{
		Addr: f.listen, TLS: f.tls, RelativeURLRoot: f.relativeURLRoot, Instance: world,
	})
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	defer server.Close()
	if f.caFile != "" {
		if err := os.WriteFile(f.caFile, server.CACertPEM(), 0o644); err != nil { // a CA is public
			return fmt.Errorf("writing the CA: %w", err)
		}
	}
	control, err := server.ServeControl(f.control)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "gitlab=%s control=%s\n", server.URL(), control); err != nil {
		return fmt.Errorf("announcing: %w", err)
	}
	<-ctx.Done()
	return nil
}

func readInstance(file string) (gitlabtest.Instance, error) {
	var world gitlabtest.Instance
	if file == "" {
		return world, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return world, fmt.Errorf("reading the world: %w", err)
	}
	if err := yaml.UnmarshalStrict(content, &world); err != nil {
		return world, fmt.Errorf("reading the world %s: %w", file, err)
	}
	return world, nil
}
