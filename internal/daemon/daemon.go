// Package daemon is the running server: it wires the parts from a configuration, applies changed configurations, and
// starts and stops everything in order.
//
// It knows which part needs which values. It must not know flags, nor how anything is decided.
package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/tracing"
	"github.com/jobgate/jobgate/webhook"
)

// Options say what to run.
type Options struct {
	// ConfigFile is the configuration file.
	ConfigFile string
	// PKI is a directory whose certificates are renewed; empty where others do so.
	PKI string
	// HealthAddress takes the place of the configuration's, so that two instances can share a file; empty for the configuration's.
	HealthAddress string
	// ShutdownDelay is how long to go on serving after /readyz has begun to fail, for a load balancer to notice.
	ShutdownDelay time.Duration
	// DecisionLog is a file to which decisions are appended, one JSON object a line; empty for none.
	DecisionLog string
	// Profiling serves profiles of the process beside the metrics.
	Profiling bool
	// TracingConfig is a file that says where reviews are recorded as traces; empty for nowhere.
	TracingConfig string
	// Version names this program.
	Version string
}

// decisionLogMode keeps user names and messages from other users of the machine.
const decisionLogMode = 0o600

// tracesTimeout bounds how long the end waits for a collector of traces.
const tracesTimeout = 3 * time.Second

// Daemon is the whole process, wired and listening.
type Daemon struct {
	version   string
	metrics   *prometheus.Registry
	config    *config.Configuration // as it was at the start
	reloader  *reloader
	decisions io.WriteCloser
	core      *core
	keeper    *certs.Keeper     // nil where others renew the certificates
	traces    *tracing.Provider // nil where none are recorded
	tls       *certs.Serving
	http      *webhook.Server
}

// New reads the configuration, wires the parts and listens; Run serves. The error says what could not be started, or which
// file could not be read.
func New(ctx context.Context, o Options) (*Daemon, error) {
	d := &Daemon{version: o.Version, metrics: prometheus.NewRegistry()}
	d.metrics.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(o.Version))
	// The watch begins before the file is read, so that no change is lost.
	d.reloader = newReloader(o.ConfigFile, d.metrics)
	var err error
	if d.config, err = config.Load(o.ConfigFile); err != nil {
		return nil, fmt.Errorf("configuration is not valid\n%w", err)
	}
	if d.keeper, err = newKeeper(ctx, o.PKI, d.metrics); err != nil {
		return nil, err
	}
	if d.decisions, err = openDecisionLog(o.DecisionLog); err != nil {
		return nil, err
	}
	if d.core, err = newCore(d.config, "jobgate/"+o.Version, d.decisions, d.metrics); err != nil {
		return nil, err
	}
	if o.TracingConfig != "" {
		if d.traces, err = tracing.New(o.TracingConfig, o.Version); err != nil {
			return nil, err
		}
	}
	return d, d.listen(o)
}

// Metrics are all of the process's own.
func (d *Daemon) Metrics() *prometheus.Registry { return d.metrics }

// Run serves until the context ends. What the reviews rely on outlives them: it ends when the server has drained.
func (d *Daemon) Run(ctx context.Context) error {
	klog.FromContext(ctx).Info("Starting jobgate", "version", d.version, "config", d.reloader.file,
		"gitlab", d.config.GitLab.URL, "agents", len(d.config.Agents), "grants", len(d.config.Grants))
	d.config.LogWarnings(klog.FromContext(ctx), d.reloader.file)
	support, stop := context.WithCancel(context.WithoutCancel(ctx))
	var supporters sync.WaitGroup
	d.core.registry.Observe(outageLog{logger: klog.FromContext(ctx)})
	supporters.Go(func() { d.core.registry.Run(support) })
	// Of the client as it is now: a changed configuration may replace it at any time.
	client := d.core.client
	supporters.Go(func() { sayWhatGitLabAnswers(support, client, d.config.GitLab.URL) })
	supporters.Go(func() { d.core.idTokens.Run(support) })
	supporters.Go(func() { d.tls.Run(support) })
	supporters.Go(func() { tuneCollector(support) })
	if d.keeper != nil {
		supporters.Go(func() { d.keeper.Run(support) })
	}
	supporters.Go(func() { d.reloader.run(support, d.config, d.core) })
	defer d.decisions.Close()
	defer d.sendTraces(support)
	defer supporters.Wait()
	defer stop()
	return d.http.Run(ctx)
}

func (d *Daemon) listen(o Options) error {
	var err error
	if d.tls, err = certs.LoadServing(tlsFiles(d.config), d.metrics); err != nil {
		return err
	}
	handler := webhook.NewHandler(d.core.authenticator, d.core.authorizer, d.metrics)
	if d.traces != nil {
		handler = d.traces.Handler(handler)
	}
	d.http, err = webhook.NewServer(webhook.Options{
		Address:       d.config.Serving.Address,
		HealthAddress: cmp.Or(o.HealthAddress, d.config.Serving.HealthAddress),
		ReusePort:     d.config.Serving.ReusePort,
		TLS:           d.tls.TLSConfig(),
		Trust:         d.tls,
		Handler:       handler,
		Metrics:       d.metrics,
		Profiling:     o.Profiling,
		DrainDelay:    o.ShutdownDelay,
	})
	return err
}

// sendTraces sends what is left at the end, if the collector takes it soon.
func (d *Daemon) sendTraces(ctx context.Context) {
	if d.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesTimeout)
	defer cancel()
	if err := d.traces.Shutdown(ctx); err != nil {
		klog.FromContext(ctx).Error(err, "The last traces were not sent")
	}
}

func openDecisionLog(name string) (io.WriteCloser, error) {
	if name == "" {
		return noStream{}, nil
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, decisionLogMode)
	if err != nil {
		return nil, fmt.Errorf("open the decision log: %w", err)
	}
	return f, nil
}

// noStream is where decisions go that only the log has.
type noStream struct{}

func (noStream) Write(line []byte) (int, error) { return len(line), nil }

func (noStream) Close() error { return nil }

// newKeeper renews what expired while no instance was running, before it is loaded; nil without a PKI.
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

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "jobgate_build_info",
		Help: "Always 1; the version is in the label.",
	}, []string{"version"})
	info.WithLabelValues(version).Set(1)
	return info
}
