package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A rotation replaces the CA. No one is refused who reads each file again within the overlap:
//
//	               next CA's key     ca.crt       signs     leaf certificates of
//	before                           old          old       old
//	announced      ca-next.pem       old, new     old       old
//	  (overlap)
//	taken over     ca.pem            old, new     new       new
//	  (overlap)
//	after          ca.pem            new          new       new
//
// The writes:
//
//  1. ca-next.pem gets the next CA, and says how long the overlap is;
//  2. ca.crt gets it, too, and says since when it has both;
//  3. after the overlap, both leaf certificates are issued again, by the next CA;
//  4. ca.pem gets the next CA, and says since when it signs and which CA it replaces;
//  5. ca-next.pem is removed;
//  6. after another overlap, ca.crt gets the new CA alone.
//
// A time is in the same write as what it is about, so a process that is killed between two writes shortens no overlap.

// Bounds of the overlaps that are chosen here.
const (
	// longestOverlap is for API servers older than 1.36, which read ca.crt only when they start; newer ones read it every
	// 5 minutes (client-go's transport/ca_rotation.go).
	longestOverlap = 30 * 24 * time.Hour
	// shareOfOverlap: a CA that lives for less than usual gives a twelfth of its life.
	shareOfOverlap = 12
	// ReloadInterval is how late an API server from 1.36 on may read a changed file.
	ReloadInterval = 5 * time.Minute
)

// ErrOverlap is in the chain of the error for an overlap that the present CA does not live long enough for.
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
	Until    time.Time     // when the next stage is due; zero when idle

	// What RotateCA adds:
	Found   Stage    // before it began
	Ended   string   // the CA that it has taken out of ca.crt
	AtOnce  bool     // it did so before API servers can have read the new files
	Changes []Change // what it has written
}

// RotateCA starts a rotation unless one is under way, does what is due of it, and says how far it has come. An overlap that
// is given also applies to a rotation that is under way. Without one (nil) a new rotation gets what fits the CA's life, at
// most 30 days. An overlap of 0 finishes the rotation at once; jobgate and API servers then refuse each other until the API
// servers have read ca.crt again.
func (p *PKI) RotateCA(overlap *time.Duration) (r Rotation, err error) {
	err = p.exclusively(func() error {
		before, err := p.Rotation()
		if err != nil {
			return err
		}
		r, _, err = p.rotate(startWhenAsked(overlap))
		if r.Found = before.Stage; r.Stage == Idle && len(r.Changes) > 0 {
			r.Ended = before.From
			r.AtOnce = before.Stage != TakenOver || time.Now().Before(before.Until)
		}
		return err
	})
	return r, err
}

// Rotation says how far a rotation has come; it writes nothing.
func (p *PKI) Rotation() (r Rotation, err error) {
	_, err = p.plan(func(s *state) (*write, error) {
		if err := s.usable(); err != nil {
			return nil, err
		}
		r = s.rotation()
		return nil, nil
	})
	return r, err
}

// rotate makes the writes that start calls for, then those that are due. Its caller holds the lock.
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

// startWhenAsked starts a rotation, unless one was under way at the beginning: that one gets the overlap.
func startWhenAsked(overlap *time.Duration) decide {
	asked := false
	return func(s *state) (*write, error) {
		if asked {
			return nil, nil
		}
		asked = true
		present := s.rotation()
		if overlap == nil {
			if present.Stage != Idle {
				return nil, nil
			}
			return s.announce(s.automaticOverlap(), whyAsked)
		}
		if left := s.left() / 2; *overlap < 0 || (*overlap > left && !s.expired(s.signing.certificate)) {
			return nil, fmt.Errorf("rotate the CA %s with an overlap of %s: %w: at most %s, half of what is left of its life",
				name(s.signing.certificate), *overlap, ErrOverlap, left)
		}
		switch {
		case present.Stage == Idle:
			return s.announce(*overlap, whyAsked)
		case present.Overlap != *overlap:
			return s.changeOverlap(present.Stage, *overlap)
		}
		return nil, nil
	}
}

// startWhenDue starts a rotation as long as what the CA signs until it hands over can still have its full life.
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

// automaticOverlap is fullOverlap, or less for a CA that is near its end.
func (s *state) automaticOverlap() time.Duration { return min(s.fullOverlap(), s.left()/2) }

// neededLife is what a CA needs for one overlap and for a leaf certificate that it issues at the end of it.
func (s *state) neededLife() time.Duration {
	longest := time.Duration(0)
	for _, file := range leafFiles() {
		// Renew reports one that cannot be read.
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
		return Rotation{
			Stage: Announced, From: name(present.certificate), To: name(s.next.certificate),
			Overlap: s.next.term.Overlap.Duration, Until: s.handover(),
		}
	}
	if old := s.replaced(); old != nil {
		return Rotation{
			Stage: TakenOver, From: name(old), To: name(present.certificate),
			Overlap: present.term.Overlap.Duration, Until: present.term.until(),
		}
	}
	return Rotation{Stage: Idle, From: name(present.certificate)}
}

// advance is the next write of a rotation that is under way; nil when none is, or none is due.
func (s *state) advance() (*write, error) {
	old := s.replaced()
	switch {
	case s.next != nil && s.next.certificate.Equal(s.signing.certificate):
		return &write{Change: Change{NextSigningFile, "the CA in it has taken over"}, kind: removeFile, owner: anyone()}, nil
	case s.next != nil && !s.announced():
		return s.publish()
	case s.next != nil && !s.takenOver(),
		s.next == nil && (old == nil || (s.now.Before(s.signing.term.until()) && !s.expired(old))):
		return nil, nil
	}
	for _, file := range leafFiles() {
		// Renew reports one that cannot be read.
		if leaf, err := s.leaf(file); err == nil && s.own(leaf) && leaf.CheckSignatureFrom(s.signer().certificate) != nil {
			return s.reissue(file, leaf, s.due(leaf))
		}
	}
	if s.next != nil {
		return s.takeOver()
	}
	rest := slices.DeleteFunc(slices.Clone(s.bundle), old.Equal)
	return writeBundle(rest, term{}, "the CA "+name(old)+" is trusted no longer")
}

// announce makes the next CA, with the lifetime of the present one.
func (s *state) announce(overlap time.Duration, why string) (*write, error) {
	if s.expired(s.signing.certificate) {
		overlap = 0 // no one gains by a wait
	}
	next, err := newAuthority(s.now, lifetime(s.signing.certificate))
	if err != nil {
		return nil, fmt.Errorf("make a new CA: %w", err)
	}
	next.term = term{Overlap: metav1.Duration{Duration: overlap}, Replaces: fingerprint(s.signing.certificate)}
	return writeAuthority(NextSigningFile, next, why)
}

// changeOverlap gives a rotation that is under way another overlap.
func (s *state) changeOverlap(stage Stage, overlap time.Duration) (*write, error) {
	file, ca := SigningFile, *s.signing
	if stage == Announced {
		file, ca = NextSigningFile, *s.next
	}
	why := fmt.Sprintf("its overlap is %s instead of %s", overlap, ca.term.Overlap.Duration)
	ca.term.Overlap.Duration = overlap
	return writeAuthority(file, &ca, why)
}

// publish puts the next CA into the bundle; the overlap begins.
func (s *state) publish() (*write, error) {
	bundle := s.bundle
	if !s.trusts(s.next.certificate) {
		bundle = append(slices.Clip(bundle), s.next.certificate)
	}
	return writeBundle(bundle, term{Since: s.now},
		"the CA "+name(s.next.certificate)+" is announced; it signs in "+s.next.term.Overlap.Duration.String())
}

// takeOver makes the next CA the one that signs. The write deletes the old key.
func (s *state) takeOver() (*write, error) {
	next := *s.next
	next.term.Since = s.now
	return writeAuthority(SigningFile, &next, "the CA "+name(next.certificate)+" has taken over from "+name(s.signing.certificate))
}

func writeAuthority(file string, ca *pair, why string) (*write, error) {
	text, err := ca.encode()
	if err != nil {
		return nil, fmt.Errorf("write the CA %s: %w", name(ca.certificate), err)
	}
	return &write{Change: Change{file, why}, content: text, mode: modeSecret, owner: anyone()}, nil
}

func writeBundle(bundle []*x509.Certificate, t term, why string) (*write, error) {
	text, err := encode(t, nil, bundle...)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", CAFile, err)
	}
	return &write{Change: Change{CAFile, why}, content: text, mode: modePublic, owner: anyone()}, nil
}
