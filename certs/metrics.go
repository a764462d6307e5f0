package certs

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/cert"
)

// The uses of certificates, as metrics and logs call them.
const (
	useServing   = "serving"    // what jobgate presents
	useClientCA  = "client_ca"  // what it trusts
	useClient    = "client"     // what the API server presents, where jobgate renews that
	useSigningCA = "signing_ca" // what signs that
)

const expiryName = "jobgate_certificate_expiry_timestamp_seconds"

const expiryHelp = "When the first certificate of those for a use expires, in Unix time: serving (what jobgate presents), " +
	"client_ca (what it trusts); with --pki also client (what the API server presents) and signing_ca."

// expiries reads when certificates expire at the moment it is asked. Its descriptions tell the uses apart by constant
// labels, so that several collectors can have some each.
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
func (s *Serving) uses() []string {
	if s.clientCA == nil {
		return []string{useServing}
	}
	return []string{useServing, useClientCA}
}

func (s *Serving) expiries() map[string]time.Time {
	chain, _ := s.pair.CurrentCertKeyContent()
	ends := map[string]time.Time{}
	// What is in use has been parsed before.
	if certificates, err := cert.ParseCertsPEM(chain); err == nil {
		ends[useServing] = firstEnd(certificates)
	}
	if s.clientCA == nil {
		return ends
	}
	if certificates, err := cert.ParseCertsPEM(s.clientCA.CurrentCABundleContent()); err == nil {
		ends[useClientCA] = firstEnd(certificates)
	}
	return ends
}

func firstEnd(certificates []*x509.Certificate) time.Time {
	end := certificates[0].NotAfter
	for _, c := range certificates[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
