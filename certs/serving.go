// Package certs keeps the certificates between the API server and jobgate. Serving loads jobgate's own and the client CA,
// reads them again when their files change, and says who may connect. PKI is a private CA in a directory, which issues both
// ends' certificates; its Keeper renews them and rotates the CA. Inspect says what is wrong with certificates of any issuer.
//
// It knows files, certificates and TLS. It must not know what is served over the connections, nor Kubernetes or GitLab.
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/cert"
)

// errClientName is in the chain of the error for a client whose certificate is trusted but has another name.
var errClientName = errors.New("client certificate is for another name")

// Files are the files and names of a server's TLS.
type Files struct {
	Certificate string
	Key         string
	// ClientCA verifies clients; empty to accept any client, without a certificate.
	ClientCA string
	// ClientNames, if any, are the only names accepted: a client certificate's common name or one of its DNS names.
	ClientNames []string
}

// Serving is a server's TLS, kept up to date by Run. If a new file is broken, the last good content stays in use, and the
// log and a metric say so.
type Serving struct {
	clientNames []string
	pair, ca    *source // ca is nil if clients need no certificate
	current     atomic.Pointer[tls.Config]

	mu            sync.Mutex // for what follows, and to change current
	presented     tls.Certificate
	bundle        []*x509.Certificate
	onTrustChange func()
}

// LoadServing reads the files, and registers the metrics of what it serves unless the registerer is nil. The error names
// the file that cannot be used, and why.
func LoadServing(f Files, r prometheus.Registerer) (*Serving, error) {
	s := &Serving{clientNames: f.ClientNames, onTrustChange: func() {}}
	s.pair = newSource(useServing, s.usePair, f.Certificate, f.Key)
	if _, err := s.pair.load(); err != nil {
		return nil, fmt.Errorf("load serving certificate %s and key %s: %w", f.Certificate, f.Key, err)
	}
	if f.ClientCA != "" {
		s.ca = newSource(useClientCA, s.useBundle, f.ClientCA)
		if _, err := s.ca.load(); err != nil {
			return nil, fmt.Errorf("load client CA %s: %w", f.ClientCA, err)
		}
	}
	if r != nil {
		r.MustRegister(expiries{uses: s.uses(), read: s.expiries}, newReloads(s.sources()))
	}
	return s, nil
}

func (s *Serving) sources() []*source {
	if s.ca == nil {
		return []*source{s.pair}
	}
	return []*source{s.pair, s.ca}
}

// Run watches the files until the context ends.
func (s *Serving) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, source := range s.sources() {
		all.Go(func() { source.run(ctx) })
	}
	all.Wait()
}

// TLSConfig is for a server; every new connection gets the files' latest good content.
func (s *Serving) TLSConfig() *tls.Config {
	c := s.current.Load().Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current.Load(), nil }
	return c
}

// usePair takes a certificate and its key into use; they are in one file or in two.
func (s *Serving) usePair(files [][]byte) error {
	pair, err := tls.X509KeyPair(files[0], files[len(files)-1])
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.presented = pair
	s.publish()
	return nil
}

// useBundle takes the clients' CAs into use.
func (s *Serving) useBundle(files [][]byte) error {
	bundle, err := cert.ParseCertsPEM(files[0])
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.bundle = bundle
	s.publish()
	changed := s.onTrustChange
	s.mu.Unlock()
	changed()
	return nil
}

// publish makes the configuration for new connections, for the holder of the lock.
func (s *Serving) publish() {
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
		Certificates: []tls.Certificate{s.presented},
	}
	if s.ca != nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = newPool(s.bundle)
		c.VerifyConnection = verifyName(s.clientNames)
	}
	s.current.Store(c)
}

func newPool(bundle []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range bundle {
		pool.AddCert(c)
	}
	return pool
}

// Trusts says whether the client CA, as it is now, vouches for the client of a connection. It does not matter that the
// client's certificate has expired since the connection began.
func (s *Serving) Trusts(connection tls.ConnectionState) bool {
	if s.ca == nil {
		return true
	}
	if len(connection.PeerCertificates) == 0 {
		return false
	}
	client, intermediates := connection.PeerCertificates[0], newPool(connection.PeerCertificates[1:])
	at := time.Now()
	if at.After(client.NotAfter) {
		at = client.NotAfter
	}
	_, err := client.Verify(x509.VerifyOptions{
		Roots: s.current.Load().ClientCAs, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: at,
	})
	return err == nil
}

// OnTrustChange sets what is called each time after the client CA has changed.
func (s *Serving) OnTrustChange(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onTrustChange = do
}

// verifyName runs after the chain has been verified, on full and on resumed handshakes alike.
func verifyName(names []string) func(tls.ConnectionState) error {
	if len(names) == 0 {
		return nil
	}
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !hasName(state.PeerCertificates[0], names) {
			return errClientName
		}
		return nil
	}
}

func hasName(c *x509.Certificate, names []string) bool {
	if slices.Contains(names, c.Subject.CommonName) {
		return true
	}
	return slices.ContainsFunc(c.DNSNames, func(n string) bool { return slices.Contains(names, n) })
}
