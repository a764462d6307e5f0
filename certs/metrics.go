package certs

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/cert"
)

var expiryDesc = prometheus.NewDesc("jobgate_certificate_expiry_timestamp_seconds",
	"When the first certificate of those in use expires, in Unix time: serving (what jobgate presents) or client_ca (what it trusts).",
	[]string{"use"}, nil)

// expiry reads the expiry of what is served at the moment it is asked.
type expiry struct{ s *Serving }

func (e expiry) Describe(ch chan<- *prometheus.Desc) { ch <- expiryDesc }

func (e expiry) Collect(ch chan<- prometheus.Metric) {
	chain, _ := e.s.pair.CurrentCertKeyContent()
	e.send(ch, "serving", chain)
	if e.s.clientCA != nil {
		e.send(ch, "client_ca", e.s.clientCA.CurrentCABundleContent())
	}
}

func (e expiry) send(ch chan<- prometheus.Metric, use string, pem []byte) {
	certificates, err := cert.ParseCertsPEM(pem)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(expiryDesc, err)
		return
	}
	ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(firstEnd(certificates).Unix()), use)
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
