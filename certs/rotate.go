package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
)

// A rotation replaces the CA without a moment at which one end shows what the other does not trust, however late each
// reads its files, within the overlap:
//
//	               next CA's key     ca.crt       signs     leaf certificates of
//	before                           old          old       old
//	announced      ca-next.pem       old, new     old       old
//	  (overlap)
//	taken over     ca.pem            old, new     new       new
//	  (overlap)
//	after          ca.pem            new          new       new
//
// In writes: ca-next.pem; ca.crt with both; ca-next.pem again, which now says since when that has been so. After the overlap
// both leaf certificates; ca.pem, which says since when they have been so; ca-next.pem goes. After the other overlap ca.crt
// with the new one alone. What is said to be so since a time has always been so for longer, wherever the process was
// killed.

// Bounds of the overlaps that are chosen here.
const (
	// longestOverlap is for API servers older than 1.36, which read ca.crt when they start and never again; newer ones do
	// every 5 minutes (client-go's transport/ca_rotation.go).
	longestOverlap = 30 * 24 * time.Hour
	// shareOfOverlap: a CA of a shorter life than usual gives a twelfth of it.
	shareOfOverlap = 12
	// ReloadInterval is how late an API server from 1.36 on may read a changed file.
	ReloadInterval = 5 * time.Minute
)

// ErrOverlap is in the chain of the error for an overlap that the present CA will not live to see the end of.
var ErrOverlap = errors.New("the overlap is too long")

// Stage is how far a rotation has come.
type Stage string

// The stages of a rotation.
const (
	Idle      Stage = "idle"       // none is under way
	Announced Stage = "announced"  // the new CA is trusted, the old one signs
	TakenOver Stage = "taken over" // the new CA signs, the old one is still trusted
)

// Rotation is how far the rotation of the CA has come.
type Rotation struct {
	Stage    Stage
	From, To string        // names of the CAs; From alone, the present one, when idle
	Overlap  time.Duration // between the stages
	Until    time.Time     // when the next stage is due; zero when idle, or while an announcement is under way
	Changes  []Change      // what was written just now
}

// RotateCA starts a rotation unless one is under way, does what is due of it, and says how far it has come. The overlap
// is for a rotation that starts: nil for one that fits the CA's lifetime, at most 30 days; 0 for none at all, after which
// API servers older than 1.36 have to be restarted, and others refuse jobgate until they have read ca.crt again.
func (p *PKI) RotateCA(overlap *time.Duration) (Rotation, error) {
	unlock, err := p.lock()
	if err != nil {
		return Rotation{}, err
	}
	defer unlock()
	if err := p.sweep(); err != nil {
		return Rotation{}, err
	}
	r, _, err := p.rotate(startOnce(overlap))
	return r, err
}

// Rotation says how far a rotation has come; it writes nothing.
func (p *PKI) Rotation() (Rotation, error) {
	r := Rotation{}
	_, err := p.plan(func(s *state) (*write, error) {
		if err := s.usable(); err != nil {
			return nil, err
		}
		r = s.rotation()
		return nil, nil
	})
	return r, err
}

// rotate starts a rotation when told to and does what is due, for the holder of the lock.
func (p *PKI) rotate(start decide) (r Rotation, made []*write, err error) {
	made, err = p.carryOut(func(s *state) (*write, error) {
		if err := s.usable(); err != nil {
			return nil, err
		}
		w, err := start(s)
		if w == nil && err == nil {
			w, err = s.advance()
		}
		r = s.rotation()
		return w, err
	})
	r.Changes = changes(made)
	return r, made, err
}

// startOnce starts one rotation, unless one is under way at the beginning.
func startOnce(overlap *time.Duration) decide {
	looked := false
	return func(s *state) (*write, error) {
		if looked || s.rotation().Stage != Idle {
			looked = true
			return nil, nil
		}
		looked = true
		if overlap == nil {
			return s.announce(s.automaticOverlap(), whyAsked)
		}
		if left := s.left() / 2; *overlap < 0 || (*overlap > left && !s.expired(s.signing.certificate)) {
			return nil, fmt.Errorf("rotate the CA %s with an overlap of %s: %w: at most %s, half of what is left of its life",
				name(s.signing.certificate), *overlap, ErrOverlap, left)
		}
		return s.announce(*overlap, whyAsked)
	}
}

// startWhenDue starts a rotation while what the CA signs until it hands over can still have its full life.
func startWhenDue(s *state) (*write, error) {
	if s.rotation().Stage != Idle || s.left() > s.neededLife() {
		return nil, nil
	}
	return s.announce(s.automaticOverlap(), "the CA "+name(s.signing.certificate)+" expires on "+stamp(s.signing.certificate.NotAfter))
}

// left is what is left of the CA's life; 0 when it has expired.
func (s *state) left() time.Duration { return max(0, s.signing.certificate.NotAfter.Sub(s.now)) }

// fullOverlap is the overlap for a CA of this lifetime.
func (s *state) fullOverlap() time.Duration {
	return min(longestOverlap, lifetime(s.signing.certificate)/shareOfOverlap)
}

// automaticOverlap is what is left of that for a CA that is near its end.
func (s *state) automaticOverlap() time.Duration { return min(s.fullOverlap(), s.left()/2) }

// neededLife is what a CA needs for one overlap, and for a leaf certificate that it issues at its end.
func (s *state) neededLife() time.Duration {
	longest := time.Duration(0)
	for _, file := range leafFiles() {
		// One that cannot be read is reported by its renewal.
		if leaf, err := s.leaf(file); err == nil && s.own(leaf) {
			longest = max(longest, lifetime(leaf))
		}
	}
	// A quarter more, since nothing happens in the very moment in which it is due.
	return longest + s.fullOverlap()*5/4
}

// rotation is how far it has come.
func (s *state) rotation() Rotation {
	present := s.signing
	if s.next != nil && !s.next.certificate.Equal(present.certificate) {
		r := Rotation{
			Stage: Announced, From: name(present.certificate), To: name(s.next.certificate), Overlap: s.next.term.overlap,
		}
		if !s.next.term.since.IsZero() {
			r.Until = s.next.term.until()
		}
		return r
	}
	if old := s.replaced(); old != nil {
		return Rotation{
			Stage: TakenOver, From: name(old), To: name(present.certificate),
			Overlap: present.term.overlap, Until: present.term.until(),
		}
	}
	return Rotation{Stage: Idle, From: name(present.certificate)}
}

// announce makes the next CA, with a lifetime as the present one's.
func (s *state) announce(overlap time.Duration, why string) (*write, error) {
	if s.expired(s.signing.certificate) {
		overlap = 0 // nobody gains by a wait
	}
	next, err := newAuthority(s.now, lifetime(s.signing.certificate))
	if err != nil {
		return nil, fmt.Errorf("make a new CA: %w", err)
	}
	next.term = term{overlap: overlap, replaces: fingerprint(s.signing.certificate)}
	return writeAuthority(NextSigningFile, next, why)
}

// advance makes the next write of a rotation that is under way; nil when none is, or none is due.
func (s *state) advance() (*write, error) {
	switch {
	case s.next == nil:
		return s.retire()
	case s.next.certificate.Equal(s.signing.certificate):
		return &write{Change: Change{NextSigningFile, "the CA in it has taken over"}, kind: removeFile, owner: anyone}, nil
	case !s.trusts(s.next.certificate):
		return s.publish()
	case s.next.term.since.IsZero():
		next := *s.next
		next.term.since = s.now
		return writeAuthority(NextSigningFile, &next, "its CA is announced now")
	case s.takenOver():
		return s.takeOver()
	}
	return nil, nil
}

// publish puts the next CA into the bundle. A time at which it was there before is forgotten first.
func (s *state) publish() (*write, error) {
	if !s.next.term.since.IsZero() {
		next := *s.next
		next.term.since = time.Time{}
		return writeAuthority(NextSigningFile, &next, "its CA is missing in "+CAFile)
	}
	return writeBundle(append(slices.Clip(s.bundle), s.next.certificate),
		"the CA "+name(s.next.certificate)+" is announced; it signs in "+s.next.term.overlap.String())
}

// takeOver reissues the leaf certificates, and then has the next CA sign. The old one's key is gone with that.
func (s *state) takeOver() (*write, error) {
	for _, file := range leafFiles() {
		leaf, err := s.leaf(file)
		if missing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if s.own(leaf) && leaf.CheckSignatureFrom(s.next.certificate) != nil {
			return s.reissue(file, leaf, s.due(leaf))
		}
	}
	next := *s.next
	next.term.since = s.now
	return writeAuthority(SigningFile, &next, "the CA "+name(next.certificate)+" has taken over from "+name(s.signing.certificate))
}

// retire takes the CA that has been replaced out of the bundle.
func (s *state) retire() (*write, error) {
	old := s.replaced()
	if old == nil || (s.now.Before(s.signing.term.until()) && !s.expired(old)) {
		return nil, nil
	}
	for _, file := range leafFiles() {
		// One that was restored from a backup, say. Its renewal comes first.
		if leaf, err := s.leaf(file); err == nil && leaf.CheckSignatureFrom(old) == nil {
			return s.reissue(file, leaf, s.due(leaf))
		}
	}
	rest := slices.DeleteFunc(slices.Clone(s.bundle), old.Equal)
	return writeBundle(rest, "the CA "+name(old)+" is trusted no longer")
}

func writeAuthority(file string, ca *pair, why string) (*write, error) {
	text, err := ca.encode()
	if err != nil {
		return nil, fmt.Errorf("write the CA %s: %w", name(ca.certificate), err)
	}
	return &write{Change: Change{file, why}, content: text, mode: modeSecret, owner: anyone}, nil
}

func writeBundle(bundle []*x509.Certificate, why string) (*write, error) {
	text, err := cert.EncodeCertificates(bundle...)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", CAFile, err)
	}
	return &write{Change: Change{CAFile, why}, content: text, mode: modePublic, owner: anyone}, nil
}
