package certs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/client-go/util/cert"
	"k8s.io/klog/v2"
)

const (
	// reloadSettle is how long a certificate may not fit its key, while both are being replaced.
	reloadSettle = time.Second
	// reloadResync is how soon a change is seen of which the system tells nothing.
	reloadResync = time.Minute
)

// reloads counts what becomes of changed files. The library loads them, and goes on with what it has when it cannot, but
// tells nobody about that. So each file is looked at here, too: one that is neither what is in use, nor could be, is
// refused.
type reloads struct {
	results *prometheus.CounterVec
	sources []*source
}

// source is the file, or the files, of a use.
type source struct {
	use   string
	files []string
	inUse func() [][]byte            // as the files were
	check func(files [][]byte) error // why the content cannot be used
	count func(result string)
	// refused is the digest of the content that was refused last, and zero when that is gone.
	refused [sha256.Size]byte
}

func newReloads(s *Serving, f Files) *reloads {
	r := &reloads{results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "jobgate_certificate_reloads_total",
		Help: "Changed certificate files by use (serving, client_ca) and result: applied, or refused with the last good content staying in use.",
	}, []string{"use", "result"})}
	r.add(s.pair, &source{
		use: useServing, files: slices.Compact([]string{f.Certificate, f.Key}),
		inUse: func() [][]byte {
			certificate, key := s.pair.CurrentCertKeyContent()
			return [][]byte{certificate, key}
		},
		check: func(files [][]byte) error {
			_, err := tls.X509KeyPair(files[0], files[len(files)-1])
			return err
		},
	})
	if s.clientCA != nil {
		r.add(s.clientCA, &source{
			use: useClientCA, files: []string{f.ClientCA},
			inUse: func() [][]byte { return [][]byte{s.clientCA.CurrentCABundleContent()} },
			check: func(files [][]byte) error {
				_, err := cert.ParseCertsPEM(files[0])
				return err
			},
		})
	}
	return r
}

// add has the library tell of content that it has loaded.
func (r *reloads) add(loader dynamiccertificates.Notifier, s *source) {
	s.count = func(result string) { r.results.WithLabelValues(s.use, result).Inc() }
	r.results.WithLabelValues(s.use, "applied")
	r.results.WithLabelValues(s.use, "refused")
	loader.AddListener(listener(func() {
		s.count("applied")
		klog.InfoS("Certificate files changed, the new ones are in use", "use", s.use, "files", s.files)
	}))
	r.sources = append(r.sources, s)
}

// listener hears that content has changed.
type listener func()

func (l listener) Enqueue() { l() }

// run looks at the files whenever they may have changed, until the context ends.
func (r *reloads) run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	events := make(chan struct{}, 1)
	for _, directory := range r.directories() {
		watches.Go(func() {
			filesystem.WatchUntil(ctx, reloadResync, directory, func() {
				select {
				case events <- struct{}{}:
				default: // a look is due already
				}
			}, nil)
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reloadSettle):
		}
		for _, s := range r.sources {
			s.look(klog.FromContext(ctx))
		}
	}
}

func (r *reloads) directories() []string {
	var all []string
	for _, s := range r.sources {
		for _, file := range s.files {
			all = append(all, filepath.Dir(file))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// look tells, once for each content, of files that cannot be used.
func (s *source) look(logger klog.Logger) {
	content, err := s.read()
	if err == nil {
		if slices.EqualFunc(content, s.inUse()[:len(content)], bytes.Equal) {
			s.refused = [sha256.Size]byte{}
			return
		}
		err = s.check(content)
	}
	if err == nil {
		return // the library is about to load it
	}
	digest := sha256.Sum256(append(bytes.Join(content, nil), err.Error()...))
	if s.refused == digest {
		return
	}
	s.refused = digest
	s.count("refused")
	logger.Error(err, "Certificate files refused, the last good ones stay in use", "use", s.use, "files", s.files)
}

func (s *source) read() (content [][]byte, err error) {
	for _, path := range s.files {
		f, err := readFile(path)
		if err != nil {
			return nil, err
		}
		content = append(content, f.content)
	}
	return content, nil
}
