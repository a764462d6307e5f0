// Package pkitest makes the certificates of one run of tests or of the demo: authorities, and certificates for servers on
// loopback and for clients. Keys exist only for as long as the run; nothing here is fit for production.
package pkitest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
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

// lifetime is longer than any run, and short enough that no one wants to steal a key.
const lifetime = 7 * 24 * time.Hour

// Authority is a certificate authority.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// chain are the certificates from an intermediate authority's own up to below the root; none for a root.
	chain [][]byte
}

// NewAuthority makes an authority that signs its own certificate.
func NewAuthority(name string) (*Authority, error) { return newAuthority(name, nil) }

// NewIntermediate makes an authority that this one vouches for. What it issues comes with its certificate.
func (a *Authority) NewIntermediate(name string) (*Authority, error) { return newAuthority(name, a) }

func newAuthority(name string, issuer *Authority) (*Authority, error) {
	certificate, key, err := sign(issuer, name, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid = true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	})
	if err != nil {
		return nil, err
	}
	a := &Authority{certificate: certificate, key: key}
	if issuer != nil {
		a.chain = append([][]byte{certificate.Raw}, issuer.chain...)
	}
	return a, nil
}

// PEM is the authority's certificate: what others need to trust it.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.certificate.Raw) }

// Pool trusts this authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Server makes a serving certificate for localhost, 127.0.0.1 and ::1, with changes.
func (a *Authority) Server(name string, changes ...func(*x509.Certificate)) (tls.Certificate, error) {
	return a.issue(name, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.DNSNames = []string{"localhost"}
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}}, changes...))
}

// Client makes a client certificate, with changes. kube-apiserver reads the user from its common name and the groups from
// its organizations.
func (a *Authority) Client(user string, changes ...func(*x509.Certificate)) (tls.Certificate, error) {
	return a.issue(user, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}}, changes...))
}

func (a *Authority) issue(name string, changes []func(*x509.Certificate)) (tls.Certificate, error) {
	leaf, key, err := sign(a, name, changes...)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: append([][]byte{leaf.Raw}, a.chain...), PrivateKey: key, Leaf: leaf}, nil
}

// sign makes a key and a certificate for it; without an issuer, the key signs its own.
func sign(issuer *Authority, name string, changes ...func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("generate the key of %s: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour), // the clock may be set back during a run
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	for _, change := range changes {
		change(template)
	}
	if issuer == nil {
		issuer = &Authority{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, key.Public(), issuer.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("parse the certificate of %s: %w", name, err)
	}
	return certificate, key, nil
}

// Encode is a certificate, with its chain, and its key in PEM.
func Encode(pair tls.Certificate) (certificate, key []byte, err error) {
	for _, der := range pair.Certificate {
		certificate = append(certificate, encode("CERTIFICATE", der)...)
	}
	key, err = encodeKey(pair.PrivateKey)
	return certificate, key, err
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return encode("PRIVATE KEY", der), nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Files are a certificate and its key in PEM.
type Files struct {
	Cert, Key string
}

// WriteCertificate writes the authority's certificate, and returns the file's path.
func (a *Authority) WriteCertificate(dir, name string) (string, error) {
	return write(dir, name+".crt", a.PEM())
}

// IssueServer writes what Server makes.
func (a *Authority) IssueServer(dir, name string) (Files, error) {
	pair, err := a.Server(name)
	if err != nil {
		return Files{}, err
	}
	return writePair(dir, name, pair)
}

// IssueClient writes what Client makes.
func (a *Authority) IssueClient(dir, user string, groups ...string) (Files, error) {
	pair, err := a.Client(user, func(c *x509.Certificate) { c.Subject.Organization = groups })
	if err != nil {
		return Files{}, err
	}
	return writePair(dir, user, pair)
}

// WriteSigningKey writes a new private key and its public half, for signing tokens.
func WriteSigningKey(dir, name string) (private, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", fmt.Errorf("generate key %s: %w", name, err)
	}
	text, err := encodeKey(key)
	if err != nil {
		return "", "", err
	}
	if private, err = write(dir, name+".key", text); err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", fmt.Errorf("encode public key %s: %w", name, err)
	}
	public, err = write(dir, name+".pub", encode("PUBLIC KEY", der))
	return private, public, err
}

func writePair(dir, name string, pair tls.Certificate) (files Files, err error) {
	certificate, key, err := Encode(pair)
	if err != nil {
		return Files{}, err
	}
	if files.Cert, err = write(dir, name+".crt", certificate); err != nil {
		return Files{}, err
	}
	files.Key, err = write(dir, name+".key", key)
	return files, err
}

func write(dir, name string, text []byte) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return path, nil
}
