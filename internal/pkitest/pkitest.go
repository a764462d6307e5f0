// Package pkitest makes the certificates of one test run: authorities, server certificates for loopback and client
// certificates. Keys exist only for as long as the run; nothing here is fit for production.
package pkitest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is far longer than any run and far shorter than anything worth stealing.
const lifetime = 24 * time.Hour

// Authority is a self-signed certificate authority.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// Files are a certificate and its key in PEM.
type Files struct {
	Cert, Key string
}

// NewAuthority makes an authority with the given common name.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the key of authority %s: %w", name, err)
	}
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	return &Authority{certificate: certificate, key: key}, nil
}

// WriteCertificate writes the authority's certificate, what others need to trust it, and returns the file's path.
func (a *Authority) WriteCertificate(dir, name string) (string, error) {
	return writePEM(dir, name+".crt", "CERTIFICATE", a.certificate.Raw)
}

// Pool trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// IssueServer writes a serving certificate for 127.0.0.1 and localhost.
func (a *Authority) IssueServer(dir, name string) (Files, error) {
	template, err := newTemplate(pkix.Name{CommonName: name})
	if err != nil {
		return Files{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	return a.issue(dir, name, template)
}

// IssueClient writes a client certificate; kube-apiserver reads the user from its common name and the groups from its
// organizations.
func (a *Authority) IssueClient(dir, user string, groups ...string) (Files, error) {
	template, err := newTemplate(pkix.Name{CommonName: user, Organization: groups})
	if err != nil {
		return Files{}, err
	}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(dir, user, template)
}

// WriteSigningKey writes a fresh private key and its public half, for signing tokens.
func WriteSigningKey(dir, name string) (private, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generate key %s: %w", name, err)
	}
	if private, err = writeKey(dir, name+".key", key); err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", fmt.Errorf("encode public key %s: %w", name, err)
	}
	public, err = writePEM(dir, name+".pub", "PUBLIC KEY", der)
	return private, public, err
}

func (a *Authority) issue(dir, name string, template *x509.Certificate) (Files, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, fmt.Errorf("generate the key of %s: %w", name, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Files{}, fmt.Errorf("sign %s: %w", name, err)
	}
	var files Files
	if files.Cert, err = writePEM(dir, name+".crt", "CERTIFICATE", der); err != nil {
		return Files{}, err
	}
	files.Key, err = writeKey(dir, name+".key", key)
	return files, err
}

func newTemplate(subject pkix.Name) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour), // the clock may be set back during a run
		NotAfter:     now.Add(lifetime),
	}, nil
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode key %s: %w", name, err)
	}
	return writePEM(dir, name, "EC PRIVATE KEY", der)
}

func writePEM(dir, name, kind string, der []byte) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return path, nil
}
