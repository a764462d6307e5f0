package gitlab

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// A slow connection is given up early: a lookup has seconds in all.
const (
	dialTimeout         = 3 * time.Second
	tlsHandshakeTimeout = 3 * time.Second
	idleTimeout         = 90 * time.Second
	// pingAfter is how long an HTTP/2 connection may be silent before it is tested, so that one that a firewall forgot
	// is found before a login is sent into it.
	pingAfter   = 15 * time.Second
	pingTimeout = 3 * time.Second
	// maxResponseHeader bounds the header block of an answer, in bytes.
	maxResponseHeader = 64 << 10
)

// ErrNoCertificate is returned for a CA bundle in which no certificate can be read.
var ErrNoCertificate = errors.New("no PEM certificate found")

func newTransport(caBundle []byte, maxInFlight int) (*http.Transport, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("load the system's CA certificates: %w", err)
	}
	if len(caBundle) > 0 && !roots.AppendCertsFromPEM(caBundle) {
		return nil, fmt.Errorf("load the extra CA bundle: %w", ErrNoCertificate)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: pingAfter}).DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    tlsHandshakeTimeout,
		MaxIdleConnsPerHost:    maxInFlight,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}, nil
}
