package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	f.StringVar(&o.HealthAddress, "health-address", "",
		"where to serve health and metrics, host:port, instead of serving.healthAddress: for a second instance with the same file")
	f.StringVar(&o.PKI, "pki", "",
		"the folder with jobgate's private CA (jobgate certs issue): its certificates are renewed, and the CA is rotated, when due")
	f.StringVar(&o.DecisionLog, "decision-log", "",
		"a file to which every decision is appended as one JSON object on each line, besides the log")
	f.DurationVar(&o.ShutdownDelay, "shutdown-delay-duration", 0,
		"how long to go on serving after /readyz has begun to fail on SIGTERM, for a load balancer to notice")
	f.BoolVar(&o.Profiling, "profiling", false,
		"serve profiles of the process (/debug/pprof/) beside the metrics, for go tool pprof")
	f.StringVar(&o.TracingConfig, "tracing-config-file", "",
		"record reviews as OpenTelemetry traces: a TracingConfiguration, as kube-apiserver's flag of this name takes")
	logsapi.AddFlags(logging, f)
	hideAlphaFlags(f)
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // a misspelt flag name above
	}
	return cmd
}

// hideAlphaFlags leaves out of --help what the logging library marks as an experiment. The flags still work.
func hideAlphaFlags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		f.Hidden = f.Hidden || strings.HasPrefix(f.Usage, "[Alpha]")
	})
}
