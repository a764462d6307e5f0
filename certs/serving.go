// Package certs keeps the certificates between the API server and jobgate. Serving loads jobgate's own and the client CA,
// re-reads them when their files change, and says who may connect. PKI is a private CA in a directory, which issues both
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

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/util/cert"
)

// ErrClientName is in the chain of the error for a client whose certificate is trusted but names somebody else.
var ErrClientName = errors.New("client certificate is for another name")

// Files are the files and names of a server's TLS.
type Files struct {
	Certificate string
	Key         string
	// ClientCA verifies clients; empty to accept any client, without a certificate.
	ClientCA string
	// ClientNames, if any, are the only names accepted: a client certificate's common name or one of its DNS names.
	ClientNames []string
}

// Serving is a server's TLS, kept up to date by Run. It fails static: a broken new file leaves the last good content
// serving, and says so in the log and in a metric.
type Serving struct {
	config     *tls.Config
	pair       *dynamiccertificates.DynamicCertKeyPairContent
	clientCA   *dynamiccertificates.DynamicFileCAContent
	controller *dynamiccertificates.DynamicServingCertificateController
	reloads    *reloads
}

// LoadServing reads the files, and registers the metrics of what it serves unless the registerer is nil. The error names
// the file that cannot be used, and why.
func LoadServing(f Files, r prometheus.Registerer) (*Serving, error) {
	// Checked first, because what the library makes for a file that it then refuses is never given back.
	if err := f.check(); err != nil {
		return nil, err
	}
	s := &Serving{reloads: newReloads(f)}
	var err error
	if s.pair, err = dynamiccertificates.NewDynamicServingContentFromFiles("serving-cert", f.Certificate, f.Key); err != nil {
		return nil, fmt.Errorf("load serving certificate %s and key %s: %w", f.Certificate, f.Key, err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	var clientCA dynamiccertificates.CAContentProvider
	if f.ClientCA != "" {
		if s.clientCA, err = dynamiccertificates.NewDynamicCAContentFromFile("client-ca", f.ClientCA); err != nil {
			return nil, fmt.Errorf("load client CA %s: %w", f.ClientCA, err)
		}
		clientCA = s.clientCA
		base.ClientAuth = tls.RequireAndVerifyClientCert
		base.VerifyConnection = verifyName(f.ClientNames)
	}
	s.controller = dynamiccertificates.NewDynamicServingCertificateController(base, clientCA, s.pair, nil, nil)
	if err := s.controller.RunOnce(); err != nil {
		return nil, fmt.Errorf("prepare TLS: %w", err)
	}
	s.pair.AddListener(s.controller)
	if s.clientCA != nil {
		s.clientCA.AddListener(s.controller)
	}
	s.reloads.loadBy(s.pair, s.clientCA)
	if r != nil {
		r.MustRegister(expiries{uses: s.uses(), read: s.expiries}, s.reloads.results)
	}
	s.config = base.Clone()
	s.config.GetConfigForClient = s.controller.GetConfigForClient
	return s, nil
}

func (f *Files) check() error {
	if _, err := tls.LoadX509KeyPair(f.Certificate, f.Key); err != nil {
		return fmt.Errorf("load serving certificate %s and key %s: %w", f.Certificate, f.Key, err)
	}
	if f.ClientCA == "" {
		return nil
	}
	if _, err := cert.CertsFromFile(f.ClientCA); err != nil {
		return fmt.Errorf("load client CA %s: %w", f.ClientCA, err)
	}
	return nil
}

// TLSConfig is for a server; every new connection gets the files' latest good content.
func (s *Serving) TLSConfig() *tls.Config { return s.config }

// Run watches the files until the context ends.
func (s *Serving) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.controller.Run(1, ctx.Done()) })
	all.Go(func() { s.reloads.run(ctx) })
	all.Wait()
}

// verifyName runs after the chain has been verified, on full and on resumed handshakes alike.
func verifyName(names []string) func(tls.ConnectionState) error {
	if len(names) == 0 {
		return nil
	}
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 || !hasName(state.PeerCertificates[0], names) {
			return ErrClientName
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
