// Command jobgate answers kube-apiserver's question whose CI_JOB_TOKEN this is. It never grants; it identifies.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "jobgate:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "jobgate",
		Short: "Let GitLab CI jobs log in to Kubernetes with their CI_JOB_TOKEN",
		Long: "jobgate is kube-apiserver's authentication webhook for GitLab CI jobs: it turns ci:<agent id>:<CI_JOB_TOKEN> into the\n" +
			"user, groups and extras that GitLab documents for the job. RBAC decides what they may do.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newConfigCommand(), newVersionCommand())
	return root
}
