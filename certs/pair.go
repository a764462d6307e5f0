package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// backdate is how far before its making a certificate begins to be valid, for clocks that differ; kube-controller-manager
// allows its own as much.
const backdate = 5 * time.Minute

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
	term        term // of a CA's
}

// term is what a CA's file says of its part in a rotation, in lines before the PEM, where RFC 7468 (section 2) has every
// reader ignore them. The zero term: it never had a part.
type term struct {
	// since is, in NextSigningFile, since when the bundle has held this CA, and zero as long as that is not certain; in
	// SigningFile, since when no leaf certificate has been another CA's.
	since    time.Time
	overlap  time.Duration
	replaces string // the fingerprint of the CA before it
}

const (
	termSince    = "Rotation-Since"
	termOverlap  = "Rotation-Overlap"
	termReplaces = "Rotation-Replaces"
)

// parsePair reads a certificate and its key.
func parsePair(text []byte) (*pair, error) {
	loaded, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	signer, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("its key cannot sign: %T", loaded.PrivateKey)
	}
	t, err := parseTerm(text)
	if err != nil {
		return nil, err
	}
	return &pair{certificate: loaded.Leaf, key: signer, term: t}, nil
}

// parseTerm reads the lines before the PEM; other lines there are none of its business.
func parseTerm(text []byte) (t term, err error) {
	before, _, _ := strings.Cut(string(text), "-----BEGIN ")
	for line := range strings.Lines(before) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case termSince:
			t.since, err = time.Parse(time.RFC3339Nano, value)
		case termOverlap:
			t.overlap, err = time.ParseDuration(value)
		case termReplaces:
			t.replaces = value
		}
		if err != nil {
			return term{}, fmt.Errorf("%s before the PEM: %w", key, err)
		}
	}
	return t, nil
}

// encode is what parsePair reads.
func (p *pair) encode() ([]byte, error) {
	key, err := keyutil.MarshalPrivateKeyToPEM(p.key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	certificate, err := cert.EncodeCertificates(p.certificate)
	if err != nil {
		return nil, fmt.Errorf("encode a certificate: %w", err)
	}
	return append(p.term.encode(), append(certificate, key...)...), nil
}

func (t term) encode() []byte {
	if t == (term{}) {
		return nil
	}
	var b bytes.Buffer
	if !t.since.IsZero() {
		fmt.Fprintf(&b, "%s: %s\n", termSince, t.since.UTC().Format(time.RFC3339Nano))
	}
	fmt.Fprintf(&b, "%s: %s\n%s: %s\n\n", termOverlap, t.overlap, termReplaces, t.replaces)
	return b.Bytes()
}

// until is when the overlap is over; t.since is set.
func (t term) until() time.Time { return t.since.Add(t.overlap) }

// name is what messages call a certificate.
func name(c *x509.Certificate) string { return c.Subject.CommonName }

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// newAuthority makes a CA. It signs leaf certificates only, and is told from others by its name.
func newAuthority(now time.Time, lifetime time.Duration) (*pair, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	short := fmt.Sprintf("%032x", serial)[:8]
	return newPair(&x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "jobgate-ca-" + short},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}, nil)
}

// issue makes a leaf certificate like the template. It never outlives the CA: whoever verifies it would refuse it then.
func (p *pair) issue(template x509.Certificate, now time.Time, lifetime time.Duration) (*pair, error) {
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(lifetime)
	if template.NotAfter.After(p.certificate.NotAfter) {
		template.NotAfter = p.certificate.NotAfter
	}
	template.BasicConstraintsValid = true
	return newPair(&template, p)
}

// newPair makes a key and signs its certificate; without an issuer, by itself.
func newPair(template *x509.Certificate, issuer *pair) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the key of %s: %w", name(template), err)
	}
	if issuer == nil {
		issuer = &pair{certificate: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, key.Public(), issuer.key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", name(template), err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate of %s: %w", name(template), err)
	}
	return &pair{certificate: certificate, key: key}, nil
}

// lifetime is what a certificate made here was given.
func lifetime(c *x509.Certificate) time.Duration { return c.NotAfter.Sub(c.NotBefore) - backdate }
