package certs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/jobgate/jobgate/internal/file"
)

// The files of a PKI. A certificate and its key are in one file, so that one rename replaces the pair.
const (
	CAFile          = "ca.crt"      // what both ends trust: one CA certificate, or two during a rotation
	SigningFile     = "ca.pem"      // the CA's certificate and key
	NextSigningFile = "ca-next.pem" // during the first half of a rotation, the certificate and key of the CA to come
	ServingFile     = "serving.pem" // jobgate's serving certificate and key
	ClientFile      = "client.pem"  // the API server's client certificate and key
)

// fileNames are the files' names.
func fileNames() []string {
	return []string{CAFile, SigningFile, NextSigningFile, ServingFile, ClientFile}
}

// kindOf is what a file of the PKI, or its directory, may be open to.
func kindOf(name string) file.Kind {
	switch name {
	case SigningFile, NextSigningFile:
		return file.OwnSecret
	case ServingFile, ClientFile:
		return file.Secret
	}
	return file.Trusted
}

// exposed says what the modes of the directory and its files give away, by file.
func (p *PKI) exposed() map[string]string {
	problems := map[string]string{}
	for _, name := range append(fileNames(), ".") {
		if problem := file.Exposed(filepath.Join(p.dir, name), kindOf(name)); problem != "" {
			problems[name] = problem
		}
	}
	return problems
}

// ErrExposedKey is in the chain of the error for a CA's key that is open to others than its owner.
var ErrExposedKey = errors.New("the CA's key is exposed")

// ErrClock is in the chain of the error for a CA that is not valid yet: the clock is behind, or was ahead when it was made.
var ErrClock = errors.New("the CA is not valid yet; check the clock")

// maxWrites ends an operation that would never end. The longest, a rotation without overlap, takes 7.
const maxWrites = 32

// PKI is a directory with a private CA and what it issued: jobgate's serving certificate and the API server's client
// certificate.
//
// Every operation looks at the files, makes the one write that is due, and looks again, until nothing is left to do. All
// state is in the files, so the next operation completes one that was interrupted between two writes. A lock on the directory
// lets one process write at a time.
type PKI struct {
	dir string
}

// OpenPKI names the directory; it touches nothing.
func OpenPKI(dir string) *PKI { return &PKI{dir: dir} }

// Dir is the directory.
func (p *PKI) Dir() string { return p.dir }

// Change is a file that is written, and why. The file "." is the directory itself.
type Change struct{ File, Why string }

// write is one write to the directory.
type write struct {
	Change
	kind    kind
	content []byte // nil for a file whose content stays
	mode    mode
	owner   file.Owner
	// leaf is what the file then holds, if that is a leaf certificate.
	leaf *pair
}

// kind is what a write does.
type kind int

const (
	replaceFile kind = iota
	removeFile
	changeAttributes
	makeDirectory
)

// decide returns the next write that is due; nil when there is none.
type decide func(*state) (*write, error)

// exclusively does something while no other process writes to the directory, which has to be there.
func (p *PKI) exclusively(do func() error) error {
	unlock, err := p.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.sweep(); err != nil {
		return err
	}
	return do()
}

// plan says which writes would follow each other, and makes none.
func (p *PKI) plan(next decide) ([]*write, error) {
	return p.writes(next, func(*write) error { return nil })
}

// carryOut makes the writes that are due. With an error it returns those made before.
func (p *PKI) carryOut(next decide) ([]*write, error) { return p.writes(next, p.apply) }

func (p *PKI) writes(next decide, apply func(*write) error) (made []*write, err error) {
	content, err := p.read()
	if err != nil {
		return nil, err
	}
	for range maxWrites {
		s, err := p.parse(content, time.Now())
		if err != nil {
			return made, err
		}
		w, err := next(s)
		if err != nil || w == nil {
			return made, err
		}
		w.owner = w.owner.Or(content.ownerFor(w.File))
		if err := apply(w); err != nil {
			return made, err
		}
		content.take(w)
		made = append(made, w)
	}
	return made, fmt.Errorf("%s: there is still something to write after %d writes", p.dir, maxWrites)
}

func changes(made []*write) []Change {
	var c []Change
	for _, w := range made {
		c = append(c, w.Change)
	}
	return slices.Clip(c)
}
