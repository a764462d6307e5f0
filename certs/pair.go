package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

// backdate is how long before now a new certificate begins to be valid, for clocks that differ. kube-controller-manager
// allows for as much.
const backdate = 5 * time.Minute

// pair is a certificate and its key.
type pair struct {
	certificate *x509.Certificate
	key         crypto.Signer
	term        term // of a CA
}

// term is what a file says about a rotation, in a line before the PEM; RFC 7468, section 2, makes every reader ignore such
// lines. A file that says nothing has the zero term.
type term struct {
	// Since is when ca.crt got the next CA, or when the CA in ca.pem began to sign.
	Since    time.Time       `json:"since,omitzero"`
	Overlap  metav1.Duration `json:"overlap,omitzero"`
	Replaces string          `json:"replaces,omitempty"` // fingerprint of the CA before this one
}

const termPrefix = "Rotation: "

// parseTerm reads the line before the PEM, and ignores any others.
func parseTerm(text []byte) (t term, err error) {
	before, _, _ := strings.Cut(string(text), "-----BEGIN ")
	for line := range strings.Lines(before) {
		value, ours := strings.CutPrefix(line, termPrefix)
		if !ours {
			continue
		}
		if err := json.Unmarshal([]byte(value), &t); err != nil {
			return term{}, fmt.Errorf("the line %q: %w", termPrefix, err)
		}
	}
	return t, nil
}

// until is when the overlap is over.
func (t term) until() time.Time { return t.Since.Add(t.Overlap.Duration) }

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

// encode is what parsePair reads.
func (p *pair) encode() ([]byte, error) { return encode(p.term, p.key, p.certificate) }

// encode is a file with a term, certificates and, unless it is nil, a key.
func encode(t term, key crypto.Signer, certificates ...*x509.Certificate) (text []byte, err error) {
	if t != (term{}) {
		line, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("encode the part in a rotation: %w", err)
		}
		text = fmt.Appendf(nil, "%s%s\n\n", termPrefix, line)
	}
	chain, err := cert.EncodeCertificates(certificates...)
	if err != nil {
		return nil, fmt.Errorf("encode a certificate: %w", err)
	}
	text = append(text, chain...)
	if key == nil {
		return text, nil
	}
	pem, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	return append(text, pem...), nil
}

// name is what messages call a certificate.
func name(c *x509.Certificate) string { return c.Subject.CommonName }

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// newAuthority makes a CA with a unique name. It signs leaf certificates only.
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

// issue makes a leaf certificate like the template. It does not outlive the CA, after whose end it would be refused anyway.
func (p *pair) issue(template x509.Certificate, now time.Time, lifetime time.Duration) (*pair, error) {
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(lifetime)
	if template.NotAfter.After(p.certificate.NotAfter) {
		template.NotAfter = p.certificate.NotAfter
	}
	template.BasicConstraintsValid = true
	return newPair(&template, p)
}

// newPair makes a key and signs its certificate; without an issuer, with that key.
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

// lifetime is how long a certificate that was made here lives.
func lifetime(c *x509.Certificate) time.Duration { return c.NotAfter.Sub(c.NotBefore) - backdate }
