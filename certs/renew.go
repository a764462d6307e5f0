package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// remainder is the part of a certificate's life that is left when it is renewed: a third, as cert-manager and the kubelet
// do. A renewal that fails can be fixed within that time, before anyone is refused.
const remainder = 3

// Renewal is what happened to a leaf certificate.
type Renewal struct {
	File      string
	Renewed   bool
	LeftAlone bool      // it is never renewed: it is missing, or of another issuer
	Why       string    // why it was renewed, or why it was not
	Names     []string  // its common name, then the DNS names and IP addresses; none if it is missing
	Expires   time.Time // of the certificate that is there now
}

// leafFiles are the files of leaf certificates.
func leafFiles() []string { return []string{ServingFile, ClientFile} }

// Renew renews the leaf certificates that are due, or with force all of them. A new one has a new key, and the names and
// lifetime of the old one. Certificates that this PKI did not issue stay as they are. An error about one does not keep the
// other from being renewed.
func (p *PKI) Renew(force bool) (renewals []Renewal, err error) {
	err = p.exclusively(func() error {
		renewals, err = p.renew(force)
		return err
	})
	return renewals, err
}

// renew is Renew for the holder of the lock.
func (p *PKI) renew(force bool) (renewals []Renewal, err error) {
	// What is wrong with the CA is reported once, and not for each certificate.
	if _, err := p.plan(func(s *state) (*write, error) { return nil, s.usable() }); err != nil {
		return nil, err
	}
	var errs []error
	for _, file := range leafFiles() {
		r := Renewal{File: file}
		if _, err := p.carryOut(renewal(&r, force)); err != nil {
			errs = append(errs, err)
			continue
		}
		renewals = append(renewals, r)
	}
	return renewals, errors.Join(errs...)
}

// renewal decides about one leaf certificate, once.
func renewal(r *Renewal, force bool) decide {
	return func(s *state) (*write, error) {
		if r.Renewed {
			return nil, nil
		}
		leaf, err := s.leaf(r.File)
		if missing(err) {
			r.LeftAlone, r.Why = true, whyMissing+"; jobgate certs issue makes it"
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		r.Names, r.Expires = names(leaf), leaf.NotAfter
		if !s.own(leaf) {
			r.LeftAlone, r.Why = true, foreign(leaf)
			return nil, nil
		}
		switch why := s.due(leaf); {
		case why != "":
			r.Why = why
		case force:
			r.Why = whyAsked
		default:
			r.Why = "it is not due before " + stamp(s.dueAt(leaf))
			return nil, nil
		}
		w, err := s.reissue(r.File, leaf, r.Why)
		if err == nil {
			r.Renewed, r.Expires = true, w.leaf.certificate.NotAfter
		}
		return w, err
	}
}

// Reasons that several operations share.
const (
	whyMissing = "it is missing"
	whyAsked   = "asked for"
)

func foreign(leaf *x509.Certificate) string {
	return fmt.Sprintf("it was issued by %q, which is not this PKI's CA", leaf.Issuer)
}

// dueAt is when a leaf certificate has a third of its life left.
func (s *state) dueAt(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-lifetime(leaf) / remainder)
}

// due is why a leaf certificate of this PKI has to be renewed now; empty if it does not have to be.
func (s *state) due(leaf *x509.Certificate) string {
	signer, old := s.signer(), s.replaced()
	switch {
	case s.takenOver() && leaf.CheckSignatureFrom(signer.certificate) != nil:
		return "the CA " + name(signer.certificate) + " signs now"
	case old != nil && leaf.CheckSignatureFrom(old) == nil:
		return "the CA " + name(old) + " has been replaced"
	case s.expired(leaf):
		return "it expired on " + stamp(leaf.NotAfter)
	case s.now.Before(leaf.NotBefore):
		// The clock was ahead when it was made.
		return "it is not valid before " + stamp(leaf.NotBefore)
	case s.now.Before(s.dueAt(leaf)):
		return ""
	case !leaf.NotAfter.Before(signer.certificate.NotAfter):
		// A new one would expire with the CA, too: a rotation comes first.
		return ""
	}
	return "it expires on " + stamp(leaf.NotAfter)
}

// reissue makes a leaf certificate that says what the old one does.
func (s *state) reissue(file string, old *x509.Certificate, why string) (*write, error) {
	return s.issue(file, x509.Certificate{
		RawSubject:     old.RawSubject,
		Subject:        old.Subject,
		DNSNames:       old.DNSNames,
		IPAddresses:    old.IPAddresses,
		EmailAddresses: old.EmailAddresses,
		URIs:           old.URIs,
		KeyUsage:       old.KeyUsage,
		ExtKeyUsage:    old.ExtKeyUsage,
	}, lifetime(old), why)
}

// issue makes a leaf certificate like the template. A group that may read the file now still may; other users never may.
func (s *state) issue(file string, template x509.Certificate, lifetime time.Duration, why string) (*write, error) {
	signer := s.signer()
	if s.expired(signer.certificate) {
		return nil, fmt.Errorf("issue %s: the CA %s expired on %s; jobgate certs rotate-ca replaces it",
			s.path(file), name(signer.certificate), stamp(signer.certificate.NotAfter))
	}
	leaf, err := signer.issue(template, s.now, lifetime)
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", s.path(file), err)
	}
	text, err := leaf.encode()
	if err != nil {
		return nil, fmt.Errorf("issue %s: %w", s.path(file), err)
	}
	m := modeSecret
	if f, ok := s.files[file]; ok {
		m |= f.mode & modeGroup
	}
	return &write{Change: Change{File: file, Why: why}, content: text, mode: m, owner: anyone(), leaf: leaf}, nil
}

// names are a certificate's common name, DNS names and IP addresses.
func names(c *x509.Certificate) []string {
	all := append([]string{c.Subject.CommonName}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}
