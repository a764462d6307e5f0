package certs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/filewatch"
)

// reloadSettle is how long a certificate may not fit its key, while both are being replaced.
const reloadSettle = time.Second

// reloads has changed files loaded, and counts and logs the result.
type reloads struct {
	results *prometheus.CounterVec
	sources []*source
}

// source is the file, or the files, of a use.
type source struct {
	use     string
	files   []string
	watcher *filewatch.Watcher
	loader  loader
	count   func(result string)
}

// loader is what the library makes for files. It has a watch of its own, which is not used, because it does not tell when
// content is refused.
type loader interface {
	dynamiccertificates.Notifier
	dynamiccertificates.ControllerRunner
}

// newReloads begins to watch, so it comes before the files are first loaded: a change in between is then not lost.
func newReloads(f Files) *reloads {
	r := &reloads{results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobgate_certificate_reloads_total",
		Help: "Changed certificate files by use (serving, client_ca) and result: applied, or refused with the last good content staying in use.",
	}, []string{"use", "result"})}
	r.watch(useServing, f.Certificate, f.Key)
	if f.ClientCA != "" {
		r.watch(useClientCA, f.ClientCA)
	}
	return r
}

func (r *reloads) watch(use string, files ...string) {
	s := &source{use: use, files: slices.Compact(files)}
	s.count = func(result string) { r.results.WithLabelValues(use, result).Inc() }
	r.results.WithLabelValues(use, "applied")
	r.results.WithLabelValues(use, "refused")
	s.watcher = filewatch.New(reloadSettle, s.load, s.files...)
	r.sources = append(r.sources, s)
}

// loadBy gives the sources their loaders, in the order of newReloads.
func (r *reloads) loadBy(loaders ...loader) {
	for i, s := range r.sources {
		s.loader = loaders[i]
		s.loader.AddListener(listener(func() {
			s.count("applied")
			klog.InfoS("Certificate files changed, the new ones are in use", "use", s.use, "files", s.files)
		}))
	}
}

// listener hears that content has changed.
type listener func()

func (l listener) Enqueue() { l() }

// run loads the files whenever they change, until the context ends.
func (r *reloads) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range r.sources {
		all.Go(func() {
			s.watcher.Run(ctx)
			s.loader.Run(ctx, 1) // after the context has ended this only frees what the loader holds
		})
	}
	all.Wait()
}

// load refuses what cannot be used. That counts once: the next try comes with the next change.
func (s *source) load() (accepted bool) {
	err := s.check()
	if err == nil {
		err = s.loader.RunOnce(context.Background())
	}
	if err != nil {
		s.count("refused")
		klog.ErrorS(err, "Certificate files refused, the last good ones stay in use", "use", s.use, "files", s.files)
	}
	return true
}

// check finds what the library would read for ever: a pipe, or a file without end.
func (s *source) check() error {
	for _, path := range s.files {
		if _, err := readFile(path); err != nil {
			return err
		}
	}
	return nil
}
