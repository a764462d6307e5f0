package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/jobgate/jobgate/internal/pkitest"

	"github.com/jobgate/jobgate/e2e/process"
)

const probeTimeout = 5 * time.Second

// mutualTLSClient trusts roots alone and shows the client certificate.
func mutualTLSClient(roots *x509.CertPool, files pkitest.Files) (*http.Client, error) {
	certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load a client certificate: %w", err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate},
		},
		ForceAttemptHTTP2: true,
	}
	return &http.Client{Transport: transport}, nil
}

// getOK returns the body of a GET that must be answered by 200 in time.
func getOK(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return process.Get(ctx, client, url)
}
