package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/jobgate/jobgate/internal/file"
)

// state is what the files of a PKI say at a moment.
type state struct {
	dir     string
	now     time.Time
	files   contents
	bundle  []*x509.Certificate // CAFile; none where that is missing
	signing *pair               // SigningFile; nil where that is missing
	next    *pair               // NextSigningFile; nil where that is missing
	since   time.Time           // when the bundle got the next CA; zero where it does not say
}

// parse fails if a file of the CA cannot be used. Leaf certificates are parsed later, when they are needed.
func (p *PKI) parse(c contents, now time.Time) (*state, error) {
	s := &state{dir: p.dir, now: now, files: c}
	if f, ok := c[CAFile]; ok {
		var err error
		if s.bundle, err = cert.ParseCertsPEM(f.content); err != nil {
			return nil, fmt.Errorf("read the CAs in %s: %w", s.path(CAFile), err)
		}
		t, err := parseTerm(f.content)
		if err != nil {
			return nil, fmt.Errorf("read the CAs in %s: %w", s.path(CAFile), err)
		}
		s.since = t.Since
	}
	for name, place := range map[string]**pair{SigningFile: &s.signing, NextSigningFile: &s.next} {
		ca, err := s.authority(name)
		if err != nil {
			return nil, err
		}
		*place = ca
	}
	return s, nil
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// authority reads a CA's certificate and key; nil where they are missing.
func (s *state) authority(name string) (*pair, error) {
	f, ok := s.files[name]
	if !ok {
		return nil, nil
	}
	path := s.path(name)
	if problem := file.OwnSecret.Problem(path, f.mode); problem != "" {
		return nil, fmt.Errorf("%w: %s; if someone may have read it, also run jobgate certs rotate-ca --overlap 0s",
			ErrExposedKey, problem)
	}
	ca, err := parsePair(f.content)
	if err != nil {
		return nil, fmt.Errorf("read the CA in %s: %w", path, err)
	}
	if !ca.certificate.IsCA {
		return nil, fmt.Errorf("read the CA in %s: the certificate of %s is not a CA's", path, ca.certificate.Subject)
	}
	return ca, nil
}

// leaf reads a leaf certificate and its key. The error is fs.ErrNotExist where they are missing.
func (s *state) leaf(name string) (*x509.Certificate, error) {
	f, ok := s.files[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", s.path(name), fs.ErrNotExist)
	}
	leaf, err := parsePair(f.content)
	if err != nil {
		return nil, fmt.Errorf("read the certificate and key in %s: %w", s.path(name), err)
	}
	return leaf.certificate, nil
}

// usable is the error for a CA that cannot sign now. An expired CA is no error here: it is replaced.
func (s *state) usable() error {
	switch {
	case s.signing == nil:
		return fmt.Errorf("%s is missing, so nothing can be issued: put it back, or remove %s and run jobgate certs issue for a new CA: %w",
			s.path(SigningFile), s.path(CAFile), fs.ErrNotExist)
	case s.now.Before(s.signing.certificate.NotBefore):
		return fmt.Errorf("use %s, valid from %s: %w", s.path(SigningFile), stamp(s.signing.certificate.NotBefore), ErrClock)
	}
	return nil
}

// trusts says whether the bundle has the certificate.
func (s *state) trusts(c *x509.Certificate) bool { return slices.ContainsFunc(s.bundle, c.Equal) }

// replaced is the CA that the signing one has taken over from, as long as it is still trusted; nil otherwise.
func (s *state) replaced() *x509.Certificate {
	for _, b := range s.bundle {
		if s.signing.term.Replaces == fingerprint(b) {
			return b
		}
	}
	return nil
}

// announced says whether the bundle has the next CA, and since when.
func (s *state) announced() bool {
	return s.next != nil && s.trusts(s.next.certificate) && !s.since.IsZero()
}

// handover is when the next CA begins to sign: after everyone has had the overlap to read the bundle.
func (s *state) handover() time.Time {
	since := s.now
	if s.announced() {
		since = s.since
	}
	return since.Add(s.next.term.Overlap.Duration)
}

// takenOver says whether it is the next CA's turn to sign. An expired CA is of no use, so no one waits for that one's end.
func (s *state) takenOver() bool {
	return s.announced() && (s.expired(s.signing.certificate) || !s.now.Before(s.handover()))
}

// signer is the CA that signs now.
func (s *state) signer() *pair {
	if s.takenOver() {
		return s.next
	}
	return s.signing
}

// own says whether this PKI issued the certificate.
func (s *state) own(leaf *x509.Certificate) bool {
	authorities := []*x509.Certificate{s.signing.certificate, s.replaced()}
	if s.next != nil {
		authorities = append(authorities, s.next.certificate)
	}
	return slices.ContainsFunc(authorities, func(ca *x509.Certificate) bool {
		return ca != nil && leaf.CheckSignatureFrom(ca) == nil
	})
}

func (s *state) expired(c *x509.Certificate) bool { return s.now.After(c.NotAfter) }

// missing says that the file is not there, and not that it cannot be used.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// stamp is a time for a person.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
