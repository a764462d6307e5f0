package certs

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The uses of certificates, as metrics and logs call them.
const (
	useServing   = "serving"    // what jobgate presents
	useClientCA  = "client_ca"  // what it trusts
	useClient    = "client"     // what the API server presents, if jobgate renews that
	useSigningCA = "signing_ca" // what signs that
)

const expiryName = "jobgate_certificate_expiry_timestamp_seconds"

const expiryHelp = "When the first certificate of those for a use expires, in Unix time: serving (what jobgate presents), " +
	"client_ca (what it trusts); with --pki also client (what the API server presents) and signing_ca."

// expiries reads when certificates expire each time that it is collected. The uses are constant labels, so that several
// collectors can each have some.
type expiries struct {
	uses []string
	read func() map[string]time.Time
}

func describeExpiry(use string) *prometheus.Desc {
	return prometheus.NewDesc(expiryName, expiryHelp, nil, prometheus.Labels{"use": use})
}

func (e expiries) Describe(ch chan<- *prometheus.Desc) {
	for _, use := range e.uses {
		ch <- describeExpiry(use)
	}
}

func (e expiries) Collect(ch chan<- prometheus.Metric) {
	for use, end := range e.read() {
		ch <- prometheus.MustNewConstMetric(describeExpiry(use), prometheus.GaugeValue, float64(end.Unix()))
	}
}

// uses are what this server has certificates for.
func (s *Serving) uses() (uses []string) {
	for _, source := range s.sources() {
		uses = append(uses, source.use)
	}
	return uses
}

func (s *Serving) expiries() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := map[string]time.Time{}
	for _, der := range s.presented.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			noteEnd(ends, useServing, c)
		}
	}
	for _, c := range s.bundle {
		noteEnd(ends, useClientCA, c)
	}
	return ends
}

// noteEnd keeps the first end of those for a use.
func noteEnd(ends map[string]time.Time, use string, c *x509.Certificate) {
	if end, ok := ends[use]; !ok || c.NotAfter.Before(end) {
		ends[use] = c.NotAfter
	}
}
