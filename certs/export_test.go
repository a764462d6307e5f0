package certs

import "time"

// Backdate is for tests that compare times of certificates.
const Backdate = backdate

// StepRotation makes one write of a rotation that is due, like a process that is killed after it. With an overlap it starts a
// rotation unless one is under way. It returns the file; "" when nothing is due.
func (p *PKI) StepRotation(overlap *time.Duration) (string, error) {
	start := func(*state) (*write, error) { return nil, nil }
	if overlap != nil {
		start = startWhenAsked(overlap)
	}
	return p.step(func(s *state) (*write, error) {
		w, err := start(s)
		if w == nil && err == nil {
			w, err = s.advance()
		}
		return w, err
	})
}

// StepIssue makes one write of Issue's.
func (p *PKI) StepIssue(r Request) (string, error) { return p.step(r.next) }

func (p *PKI) step(next decide) (file string, err error) {
	made, err := p.carryOut(func(s *state) (*write, error) {
		if file != "" {
			return nil, nil
		}
		w, err := next(s)
		if w != nil {
			file = w.File
		}
		return w, err
	})
	if len(made) == 0 {
		return "", err
	}
	return file, err
}
