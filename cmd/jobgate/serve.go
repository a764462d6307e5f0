package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/logs/json/register" // --logging-format=json
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

type serveOptions struct {
	configFile    string
	pki           string
	shutdownDelay time.Duration
	logging       *logsapi.LoggingConfiguration
}

func newServeCommand() *cobra.Command {
	o := serveOptions{logging: logsapi.NewLoggingConfiguration()}
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve TokenReviews and SubjectAccessReviews to kube-apiserver",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), o) },
	}
	cmd.Flags().StringVar(&o.configFile, "config", "", "the configuration file (required)")
	cmd.Flags().StringVar(&o.pki, "pki", "",
		"a directory with a private CA of jobgate's own (jobgate certs issue): what it issued is renewed, and the CA rotated, when due")
	cmd.Flags().DurationVar(&o.shutdownDelay, "shutdown-delay-duration", 0,
		"how long to go on serving after /readyz has begun to fail on SIGTERM, for a load balancer to notice")
	logsapi.AddFlags(o.logging, cmd.Flags())
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // a misspelt flag name above
	}
	return cmd
}

// serve runs until the context ends.
func serve(ctx context.Context, o serveOptions) error {
	logs.InitLogs()
	defer logs.FlushLogs()
	if err := logsapi.ValidateAndApply(o.logging, nil); err != nil {
		return fmt.Errorf("set up logging: %w", err)
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	reloader := newReloader(o.configFile, metrics)
	cfg, err := config.Load(o.configFile)
	if err != nil {
		return fmt.Errorf("configuration is not valid\n%w", err)
	}
	cfg.LogWarnings(klog.FromContext(ctx), o.configFile)
	keeper, err := newKeeper(ctx, o.pki, metrics)
	if err != nil {
		return err
	}
	d, err := newDaemon(cfg, o.shutdownDelay, metrics)
	if err != nil {
		return err
	}
	d.keeper = keeper
	klog.FromContext(ctx).Info("Starting jobgate", "version", versionText(), "config", o.configFile,
		"gitlab", cfg.GitLab.URL, "agents", len(cfg.Agents))
	return d.run(ctx, func(ctx context.Context) { reloader.run(ctx, cfg, d.targets) })
}

// newKeeper renews what expired while nobody served, before it is loaded; nil without a PKI.
func newKeeper(ctx context.Context, dir string, metrics *prometheus.Registry) (*certs.Keeper, error) {
	if dir == "" {
		return nil, nil
	}
	keeper, err := certs.NewKeeper(certs.OpenPKI(dir), metrics)
	if err != nil {
		return nil, err
	}
	keeper.Check(ctx)
	return keeper, nil
}

// daemon is the whole process, wired.
type daemon struct {
	keeper  *certs.Keeper // nil where somebody else renews the certificates
	tls     *certs.Serving
	server  *webhook.Server
	targets reloadTargets
}

func newDaemon(cfg *config.Configuration, shutdownDelay time.Duration, metrics *prometheus.Registry) (*daemon, error) {
	gitlabMetrics := gitlab.NewMetrics(metrics)
	source, err := newSource(cfg, gitlabMetrics)
	if err != nil {
		return nil, err
	}
	registry, err := job.NewRegistry(source, jobSettings(cfg), metrics)
	if err != nil {
		return nil, err
	}
	authenticator := tokenreview.New(registry, authentication(cfg))
	authorizer, err := authz.New(registry, authorization(cfg))
	if err != nil {
		return nil, err
	}
	serving, err := certs.LoadServing(tlsFiles(cfg), metrics)
	if err != nil {
		return nil, err
	}
	server, err := webhook.NewServer(webhook.Options{
		Address:       cfg.Serving.Address,
		HealthAddress: cfg.Serving.HealthAddress,
		TLS:           serving.TLSConfig(),
		Handler:       webhook.NewHandler(authenticator, authorizer, metrics),
		Metrics:       metrics,
		DrainDelay:    shutdownDelay,
	})
	if err != nil {
		return nil, err
	}
	return &daemon{tls: serving, server: server, targets: reloadTargets{
		registry: registry, authenticator: authenticator, authorizer: authorizer, source: source, gitlabMetrics: gitlabMetrics,
	}}, nil
}

// run serves until the context ends. What the reviews rely on outlives them: it ends when the server has drained.
func (d *daemon) run(ctx context.Context, watchConfiguration func(context.Context)) error {
	support, stop := context.WithCancel(context.WithoutCancel(ctx))
	var supporters sync.WaitGroup
	supporters.Go(func() { d.targets.registry.Run(support) })
	supporters.Go(func() { d.tls.Run(support) })
	if d.keeper != nil {
		supporters.Go(func() { d.keeper.Run(support) })
	}
	supporters.Go(func() { watchConfiguration(support) })
	defer supporters.Wait()
	defer stop()
	return d.server.Run(ctx)
}

func buildInfo() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "jobgate_build_info",
		Help: "Always 1; the version is in the label.",
	}, []string{"version"})
	info.WithLabelValues(versionText()).Set(1)
	return info
}
