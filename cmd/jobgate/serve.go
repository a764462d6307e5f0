package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json

	"github.com/jobgate/jobgate/internal/daemon"
)

func newServeCommand() *cobra.Command {
	o, logging := daemon.Options{Version: versionText()}, logsapi.NewLoggingConfiguration()
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve TokenReviews and SubjectAccessReviews to kube-apiserver",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logs.InitLogs()
			defer logs.FlushLogs()
			if err := logsapi.ValidateAndApply(logging, nil); err != nil {
				return fmt.Errorf("set up logging: %w", err)
			}
			d, err := daemon.New(cmd.Context(), o)
			if err != nil {
				return err
			}
			return d.Run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.ConfigFile, "config", "", "the configuration file (required)")
	f.StringVar(&o.PKI, "pki", "",
		"a directory with jobgate's private CA (jobgate certs issue): its certificates are renewed, and the CA is rotated, when due")
	f.StringVar(&o.DecisionLog, "decision-log", "",
		"a file to which every decision is appended as one JSON object a line, besides the log")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", 0,
		"how long to go on serving after /readyz has begun to fail on SIGTERM, for a load balancer to notice")
	logsapi.AddFlags(logging, f)
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // a misspelt flag name above
	}
	return cmd
}
