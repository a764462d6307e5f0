// Package conffile writes files that a person may change afterwards, as dpkg does with its conffiles: it updates a file that
// was not changed by hand, keeps one that was, and reports a conflict if the file was changed by hand and its new content
// differs, too.
//
// It knows files and their hashes, and remembers in State what it wrote last. It must not know what the files are for. A
// file with a secret in it is different: it is written whenever it differs, and neither remembered nor shown.
package conffile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/internal/file"
)

// File is what should be in the directory.
type File struct {
	// Path is relative to the directory, with slashes.
	Path    string
	Content []byte
	// Mode is that of a new file; an existing one keeps its own, and its owner.
	Mode fs.FileMode
	// Secret says that not every user may see the content.
	Secret bool
	// Objection, unless nil, says why a file that was not changed by hand must still not become Content; empty: it may.
	Objection func(current []byte) string
	// Check, unless nil, says what is wrong with a file that was changed by hand and would stay.
	Check func(current []byte) error
}

// Outcome says what becomes of a file.
type Outcome string

// The outcomes, of which the first three write.
const (
	Create  Outcome = "created"
	Update  Outcome = "updated"
	Replace Outcome = "replaced" // Update in spite of a conflict; what was there is kept beside it
	Adopt   Outcome = "adopted"  // the file is as it should be, and is remembered as written
	Equal   Outcome = "unchanged"
	Keep    Outcome = "kept"     // changed by hand
	Extra   Outcome = "unneeded" // written earlier and no longer wanted; stays
	Clash   Outcome = "conflict" // nothing may be written
)

// Change is one file's outcome.
type Change struct {
	Path    string
	Outcome Outcome
	// Why explains Keep and Clash.
	Why string
	// Old is what is there, nil for nothing; New is what is wanted, nil for Extra.
	Old, New []byte
	// Backup is, for Replace, what Apply called the copy; relative as Path.
	Backup string

	mode   fs.FileMode
	owner  file.Owner
	secret bool
}

// Policy says what becomes of a file that was changed by hand and has a new content.
type Policy int

// The policies.
const (
	Refuse   Policy = iota // a Clash
	KeepMine               // Keep, and the new content counts as seen
	TakeNew                // Replace
)

// Plan is what would be done to a directory.
type Plan struct {
	Changes []Change // by path

	dir  string
	last state // as it is
	next state // as it becomes
}

// maxFileBytes bounds what is read of one file.
const maxFileBytes = 4 << 20

// NewPlan compares a directory, which need not exist, with what should be in it. It writes nothing.
func NewPlan(dir string, files []File, policy Policy) (*Plan, error) {
	last, err := readState(dir)
	if err != nil {
		return nil, err
	}
	p := &Plan{dir: dir, last: last, next: state{}}
	for _, f := range files {
		c, err := compare(dir, f, last[f.Path], policy)
		if err != nil {
			return nil, err
		}
		if !f.Secret {
			p.next[f.Path] = hash(f.Content)
		}
		p.Changes = append(p.Changes, c)
	}
	for name, sum := range last {
		if slices.ContainsFunc(files, func(f File) bool { return f.Path == name }) {
			continue
		}
		old, _, err := read(dir, name)
		if err != nil {
			return nil, err
		}
		if old != nil {
			p.next[name] = sum
			p.Changes = append(p.Changes, Change{Path: name, Outcome: Extra, Old: old})
		}
	}
	slices.SortFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return p, nil
}

// compare is the table of dpkg's conffiles; last is the hash of what was written last, empty for nothing.
func compare(dir string, f File, last string, policy Policy) (Change, error) {
	old, info, err := read(dir, f.Path)
	if err != nil {
		return Change{}, err
	}
	c := Change{Path: f.Path, Old: old, New: f.Content, secret: f.Secret}
	if old == nil {
		c.Outcome, c.mode, c.owner = Create, f.Mode, file.Owner{UID: file.Any, GID: file.Any}
		return c, nil
	}
	c.mode, c.owner = info.Mode().Perm(), file.OwnerOf(info)
	current, wanted := hash(old), hash(f.Content)
	switch {
	case current == wanted:
		c.Outcome = Equal
		if last != wanted && !f.Secret {
			c.Outcome = Adopt
		}
		return c, nil
	case f.Secret:
		c.Outcome = Update
		return c, nil
	case current == last:
		c.Outcome = Update
		if f.Objection != nil {
			c.Why = f.Objection(old)
		}
		if c.Why == "" {
			return c, nil
		}
	case last == wanted:
		c.Outcome, c.Why = Keep, "it was changed by hand"
		return f.checked(c, policy), nil
	case last == "":
		c.Why = "it was there before, and was not written from here"
	default:
		c.Why = "it was changed by hand, and what belongs there has changed, too"
	}
	c.Outcome = map[Policy]Outcome{Refuse: Clash, KeepMine: Keep, TakeNew: Replace}[policy]
	return f.checked(c, policy), nil
}

// checked does not keep what is not valid.
func (f File) checked(c Change, policy Policy) Change {
	if c.Outcome != Keep || f.Check == nil {
		return c
	}
	if err := f.Check(c.Old); err != nil {
		c.Outcome, c.Why = Clash, "it was changed by hand and is not valid: "+err.Error()
		if policy == TakeNew {
			c.Outcome = Replace
		}
	}
	return c
}

// Clashes are the conflicts. While there are any, nothing is written.
func (p *Plan) Clashes() []Change {
	return slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return c.Outcome != Clash })
}

// Writes says that Apply would write any file.
func (p *Plan) Writes() bool {
	return !maps.Equal(p.last, p.next) || slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Outcome.Writes() })
}

// Writes says that the file itself is written.
func (o Outcome) Writes() bool { return o == Create || o == Update || o == Replace }

// read returns nil for a file that is not there.
func read(dir, name string) (content []byte, info fs.FileInfo, err error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	info, err = os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err == nil && !info.Mode().IsRegular() { // a symbolic link, too, since writing would replace the link
		err = &fs.PathError{Op: "read", Path: path, Err: file.ErrNotRegular}
	}
	if err == nil {
		content, err = file.Read(path, maxFileBytes)
	}
	if errors.Is(err, file.ErrNotRegular) || errors.Is(err, file.ErrTooLarge) {
		err = fmt.Errorf("%w: move it away", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look at what is there: %w", err)
	}
	return content, info, nil
}

func hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
