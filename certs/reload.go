package certs

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/filewatch"
)

// reloadSettle is how long a certificate may not fit its key, while both are being replaced.
const reloadSettle = time.Second

// source is the files of one use. They are loaded again when they change.
type source struct {
	use     string
	files   []string
	take    func(content [][]byte) error // into use; the error says why that cannot be
	inUse   [][]byte
	watcher *filewatch.Watcher
	count   func(result string)
	log     klog.Logger
}

func newSource(use string, take func([][]byte) error, files ...string) *source {
	s := &source{use: use, files: slices.Compact(files), take: take, count: func(string) {}}
	s.watcher = filewatch.New(reloadSettle, s.reload, s.files...)
	return s
}

func (s *source) run(ctx context.Context) {
	s.log = klog.FromContext(ctx).WithValues("use", s.use, "files", s.files)
	s.watcher.Run(ctx)
}

// reload accepts whatever it finds: until a file changes once more, another try would find the same.
func (s *source) reload() (accepted bool) {
	switch changed, err := s.load(); {
	case err != nil:
		s.count(refused)
		s.log.Error(err, "Certificate files refused, the last good ones stay in use")
	case changed:
		s.count(applied)
		s.log.Info("Certificate files changed, the new ones are in use")
	}
	return true
}

// load takes the content of the files into use, unless it is already.
func (s *source) load() (changed bool, err error) {
	var content [][]byte
	for _, path := range s.files {
		text, err := file.Read(path, maxFile)
		if err != nil {
			return false, err
		}
		content = append(content, text)
	}
	if slices.EqualFunc(content, s.inUse, bytes.Equal) {
		return false, nil
	}
	if err := s.take(content); err != nil {
		return false, err
	}
	s.inUse = content
	return true, nil
}

// What becomes of changed files.
const (
	applied = "applied"
	refused = "refused"
)

// newReloads counts what becomes of changed files.
func newReloads(sources []*source) *prometheus.CounterVec {
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobgate_certificate_reloads_total",
		Help: "Changed certificate files by use (serving, client_ca) and result: applied, or refused (the last good content stays in use).",
	}, []string{"use", "result"})
	for _, s := range sources {
		s.count = func(result string) { results.WithLabelValues(s.use, result).Inc() }
		results.WithLabelValues(s.use, applied)
		results.WithLabelValues(s.use, refused)
	}
	return results
}
