package certs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"
)

// How often a Keeper looks: sixty times in the life of the certificate that lives for the shortest time, within these
// bounds. A look reads five small files.
const (
	shortestInterval = time.Second
	longestInterval  = time.Minute
	looksPerLife     = 60
)

// Keeper renews what a PKI issued and rotates its CA, when that is due. What cannot be renewed stays in use, and the Keeper
// tries again.
type Keeper struct {
	pki     *PKI
	results *prometheus.CounterVec

	interval time.Duration     // until the next look
	said     map[string]string // what was logged already, by file

	mu   sync.Mutex
	ends map[string]time.Time // when what is not in use here expires, by use
}

// NewKeeper returns a Keeper of a PKI, and registers its metrics unless the registerer is nil. The only error is a path that
// is no directory: everything else can be fixed while it runs.
func NewKeeper(p *PKI, r prometheus.Registerer) (*Keeper, error) {
	info, err := os.Stat(p.dir)
	if err == nil && !info.IsDir() {
		err = errors.New("it is not a folder")
	}
	if err != nil {
		return nil, fmt.Errorf("keep the PKI in %s: %w", p.dir, err)
	}
	k := &Keeper{
		pki: p,
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_certificate_renewals_total",
			Help: "Renewals by result: renewed (counted per certificate), or failed (counted per attempt; the old ones stay in use).",
		}, []string{"result"}),
		said: map[string]string{},
		ends: map[string]time.Time{},
	}
	k.results.WithLabelValues("renewed")
	k.results.WithLabelValues("failed")
	if r != nil {
		r.MustRegister(k.results, expiries{uses: []string{useClient, useSigningCA}, read: k.expiries})
	}
	return k, nil
}

// Run looks at each interval until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	timer := time.NewTimer(k.interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			k.Check(ctx)
			timer.Reset(k.interval)
		}
	}
}

// Check looks once, and does what is due. It must not be called while Run runs.
func (k *Keeper) Check(ctx context.Context) {
	logger := klog.FromContext(ctx).WithValues("pki", k.pki.dir)
	for file, problem := range k.pki.exposed() {
		if k.said["mode of "+file] != problem {
			logger.Info("PKI is open to other users", "problem", problem)
			k.said["mode of "+file] = problem
		}
	}
	var r report
	err := k.pki.exclusively(func() error { return r.take(k.pki) })
	for _, w := range r.rotated {
		k.logRotation(logger, w)
	}
	for _, renewal := range r.renewals {
		k.log(logger, renewal)
	}
	for _, w := range r.rotated {
		if w.File == CAFile && r.rotation.Stage == Announced {
			logger.Info("A new CA will sign soon. Restart API servers older than 1.36 before: they read ca.crt only when they start",
				"ca", r.rotation.To, "signsFrom", stamp(r.rotation.Until))
		}
	}
	if err != nil {
		k.results.WithLabelValues("failed").Inc()
		logger.Error(err, "Certificates could not be renewed, those in use stay")
	}
	k.interval = longestInterval
	if r.ends == nil {
		return // nothing new is known
	}
	k.interval = min(max(r.shortest/looksPerLife, shortestInterval), longestInterval)
	k.mu.Lock()
	k.ends = r.ends
	k.mu.Unlock()
}

func (k *Keeper) logRotation(logger klog.Logger, w *write) {
	if w.leaf != nil {
		k.log(logger, Renewal{
			File: w.File, Renewed: true, Why: w.Why, Names: names(w.leaf.certificate), Expires: w.leaf.certificate.NotAfter,
		})
		return
	}
	logger.Info("CA is being rotated", "file", w.File, "reason", w.Why)
}

func (k *Keeper) log(logger klog.Logger, r Renewal) {
	if r.Renewed {
		k.results.WithLabelValues("renewed").Inc()
		logger.Info("Certificate renewed", "file", r.File, "names", r.Names, "expires", stamp(r.Expires), "reason", r.Why)
		delete(k.said, r.File)
		return
	}
	if r.LeftAlone && k.said[r.File] != r.Why {
		logger.Info("Certificate is not renewed here", "file", r.File, "reason", r.Why)
		k.said[r.File] = r.Why
	}
}

func (k *Keeper) expiries() map[string]time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ends
}

// report is what a look found and did.
type report struct {
	rotation Rotation
	rotated  []*write // for the rotation
	renewals []Renewal
	ends     map[string]time.Time // of the client certificate and of the CA that signs
	shortest time.Duration        // of the lives and overlaps
}

// take does what is due.
func (r *report) take(p *PKI) (err error) {
	var errs []error
	if r.rotation, r.rotated, err = p.rotate(startWhenDue); err != nil {
		errs = append(errs, fmt.Errorf("rotate the CA: %w", err))
	}
	// A CA that cannot be rotated may still sign. One that cannot be used is reported once, above.
	if r.rotation.Stage != "" {
		if r.renewals, err = p.renew(false); err != nil {
			errs = append(errs, err)
		}
	}
	_, err = p.plan(r.survey)
	return errors.Join(append(errs, err)...)
}

// survey looks at what is there now.
func (r *report) survey(s *state) (*write, error) {
	if s.signing == nil {
		return nil, nil
	}
	r.ends = map[string]time.Time{useSigningCA: s.signing.certificate.NotAfter}
	lives := []time.Duration{lifetime(s.signing.certificate)}
	if r.rotation.Stage != Idle {
		lives = append(lives, r.rotation.Overlap)
	}
	for _, file := range leafFiles() {
		leaf, err := s.leaf(file)
		if err != nil {
			continue
		}
		lives = append(lives, lifetime(leaf))
		if file == ClientFile {
			r.ends[useClient] = leaf.NotAfter
		}
	}
	r.shortest = lives[0]
	for _, life := range lives {
		r.shortest = min(r.shortest, life)
	}
	return nil, nil
}
