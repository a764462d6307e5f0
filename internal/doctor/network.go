package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/policy"
)

// Bounds of what is tried and said.
const (
	maxAddresses = 4                  // of one name
	expiresSoon  = 7 * 24 * time.Hour // a certificate with less time left is worth a warning
	lastPart     = 10                 // for a short-lived one: the last tenth of its life
)

// network is the connection to the API server, step by step.
type network struct {
	addresses  []string // checkDNS
	connection net.Conn // checkTCP; nil: none
	broken     string   // the first step that failed; empty: none
}

func (n *network) close() {
	if n.connection != nil {
		n.connection.Close()
	}
}

// blocked says why the next step cannot be checked; empty if it can.
func (e *examination) blocked() string {
	switch {
	case e.target.url == nil:
		return e.target.why
	case e.target.proxy != nil:
		return "requests go through a proxy"
	default:
		return e.network.broken
	}
}

// checkDNS looks up the API server's name.
func (e *examination) checkDNS(ctx context.Context) Finding {
	f := Finding{Name: "dns"}
	if why := e.blocked(); why != "" {
		return f.NotChecked(why)
	}
	host := e.target.url.Hostname()
	if net.ParseIP(host) != nil {
		e.network.addresses = []string{host}
		return f.Well(host + " is an address")
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	addresses, err := e.Resolver.LookupHost(ctx, host)
	if err == nil && len(addresses) == 0 {
		err = errors.New("no addresses")
	}
	if err != nil {
		e.network.broken = "the API server's name cannot be looked up"
		return f.Failed(fmt.Sprintf("the name %s cannot be looked up: %v", e.quote(host), err),
			"check the name and the runner's DNS, or use an address that is in the API server's certificate")
	}
	e.network.addresses = addresses[:min(len(addresses), maxAddresses)]
	return f.Well(fmt.Sprintf("%s is %s", host, strings.Join(e.network.addresses, ", ")))
}

// checkTCP connects to the first address that accepts.
func (e *examination) checkTCP(ctx context.Context) Finding {
	f := Finding{Name: "tcp"}
	if why := e.blocked(); why != "" {
		return f.NotChecked(why)
	}
	port := e.target.url.Port()
	if port == "" {
		port = "443"
	}
	var errs []error
	for _, address := range e.network.addresses {
		address = net.JoinHostPort(address, port)
		connection, err := (&net.Dialer{Timeout: networkTimeout}).DialContext(ctx, "tcp", address)
		if err == nil {
			e.network.connection = connection
			return f.Well("connected to " + address)
		}
		errs = append(errs, err)
	}
	e.network.broken = "there is no connection to the API server"
	return f.Failed(strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; "),
		"check the port, whether the API server runs, and the firewalls between the runner and it")
}

// checkTLS makes a TLS handshake and verifies the API server's certificate itself, to be able to say what is wrong with it.
// No token is sent over this connection.
func (e *examination) checkTLS(ctx context.Context) Finding {
	f := Finding{Name: "tls"}
	if why := e.blocked(); why != "" {
		return f.NotChecked(why)
	}
	name := e.target.serverName
	if name == "" {
		name = e.target.url.Hostname()
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	// The handshake accepts any certificate: verify decides.
	connection := tls.Client(e.network.connection, &tls.Config{
		ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, //nolint:gosec // verify decides, and says what is wrong
	})
	if err := connection.HandshakeContext(ctx); err != nil {
		e.network.broken = "the API server does not speak TLS"
		return f.Failed("the TLS handshake failed: "+err.Error(),
			"check the port: something other than an API server, such as a proxy, answers there")
	}
	state := connection.ConnectionState()
	if err := e.verify(state.PeerCertificates, name); err != nil && !e.target.insecure {
		e.network.broken = "the API server's certificate is not trusted"
		return f.Failed(e.explainCertificate(err, state.PeerCertificates[0]))
	}
	return describeCertificate(f, tls.VersionName(state.Version), state.PeerCertificates[0], e.Now())
}

// verify verifies the certificates as kubectl would. A server always sends at least one (RFC 8446, section 4.4.2).
func (e *examination) verify(chain []*x509.Certificate, name string) error {
	options := x509.VerifyOptions{DNSName: name, CurrentTime: e.Now(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if len(e.target.ca) > 0 {
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(e.target.ca)
	}
	_, err := chain[0].Verify(options)
	return err
}

// explainCertificate says what is wrong with a certificate, and what to do.
func (e *examination) explainCertificate(err error, leaf *x509.Certificate) (what, do string) {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate is for %s, not for %s", names(leaf), policy.Quote(hostname.Host)),
			"use one of these names in the URL, or ask the cluster's admin to add the name to the certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate is valid from %s to %s, and not now", day(leaf.NotBefore), day(leaf.NotAfter)),
			askAdmin + "the API server's certificate must be renewed; check the runner's clock, too"
	case errors.As(err, &unknown) && len(e.target.ca) == 0:
		return fmt.Sprintf("the certificate is signed by %s, which this image does not trust, and no CA is given", policy.Quote(leaf.Issuer.String())),
			"set " + cijob.VarCAFile + ", or give --ca: the cluster's CA, as in its admin's kubeconfig"
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate is signed by %s, and the CA that is given is a different one", policy.Quote(leaf.Issuer.String())),
			"give the CA of this cluster (" + cijob.VarCAFile + ", --ca): the one in its admin's kubeconfig"
	default:
		return "the certificate cannot be verified: " + err.Error(), askAdmin + "the API server's certificate must be replaced"
	}
}

func describeCertificate(f Finding, version string, leaf *x509.Certificate, now time.Time) Finding {
	left, life := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)
	what := fmt.Sprintf("%s, certificate of %s, valid until %s", version, policy.Quote(leaf.Issuer.String()), day(leaf.NotAfter))
	if left < min(expiresSoon, life/lastPart) {
		return f.Warned(what+", which is in "+roughly(left), askAdmin+"the API server's certificate must be renewed")
	}
	return f.Well(what)
}

// names lists the names and addresses in a certificate.
func names(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return policy.List(all)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
