package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/filewatch"
)

// settleTime lets an editor or the kubelet finish before the configuration is read.
const settleTime = 100 * time.Millisecond

// reloader applies the configuration file again whenever it, or a file it names, changes. It fails static: a
// configuration that is not valid is refused whole, and the last good one stays.
type reloader struct {
	file    string
	started *config.Configuration // what serving and gitlab.url stay at until a restart
	core    *core
	logger  klog.Logger
	watcher *filewatch.Watcher
	results *prometheus.CounterVec
	last    prometheus.Gauge
}

// newReloader begins to watch, so it comes before the file is first loaded: a change in between is then not lost.
func newReloader(file string, r prometheus.Registerer) *reloader {
	rl := &reloader{
		file: file,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_config_reloads_total",
			Help: "Reloads of the configuration, by result: applied, or refused with the last good one staying in force.",
		}, []string{"result"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "jobgate_config_last_applied_timestamp_seconds",
			Help: "When the configuration in force was applied, in Unix time.",
		}),
	}
	rl.results.WithLabelValues("applied")
	rl.results.WithLabelValues("refused")
	r.MustRegister(rl.results, rl.last)
	rl.watcher = filewatch.New(settleTime, rl.reload, file)
	return rl
}

// run applies changes to what the given configuration has started, until the context ends.
func (r *reloader) run(ctx context.Context, started *config.Configuration, c *core) {
	r.started, r.core, r.logger = started, c, klog.FromContext(ctx)
	r.last.SetToCurrentTime()
	r.watcher.SetFiles(started.ReloadedFiles()...)
	r.watcher.Run(ctx)
}

func (r *reloader) reload() (accepted bool) {
	cfg, err := config.Load(r.file)
	if err == nil {
		err = r.apply(cfg)
	}
	if err != nil {
		r.results.WithLabelValues("refused").Inc()
		r.logger.Error(err, "Configuration refused, the last good one stays in force", "file", r.file)
		return false
	}
	cfg.LogWarnings(r.logger, r.file)
	r.results.WithLabelValues("applied").Inc()
	r.last.SetToCurrentTime()
	r.logger.Info("Configuration applied", "file", r.file, "agents", len(cfg.Agents), "grants", len(cfg.Grants))
	return true
}

func (r *reloader) apply(cfg *config.Configuration) error {
	sameGitLab := cfg.GitLab.URL == r.started.GitLab.URL
	if keys := cfg.RestartNeeded(r.started); len(keys) > 0 {
		r.logger.Info("Changed settings take effect only after a restart", "file", r.file, "keys", keys)
		cfg.GitLab.URL, cfg.Cluster.Name = r.started.GitLab.URL, r.started.Cluster.Name
	}
	// Watched before they are read, for the same reason as the file itself.
	r.watcher.SetFiles(cfg.ReloadedFiles()...)
	return r.core.configure(cfg, sameGitLab)
}
