package conffile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jobgate/jobgate/internal/file"
)

const (
	dirMode    fs.FileMode = 0o755
	maxBackups             = 100
	backupExt              = ".bak"
)

// errClash is the caller's mistake: it should show a plan with conflicts, and not apply it.
var errClash = errors.New("the plan has conflicts")

// MakeDir makes the directory with a mode that lets other users enter it, whatever the umask. It does nothing if the directory
// is there. Apply does the same.
func (p *Plan) MakeDir() error { return makeDirs(p.dir) }

// Apply does what the plan says. It replaces each file as a whole and then remembers it, so that the next Apply finishes one
// that was interrupted.
func (p *Plan) Apply() error {
	if len(p.Clashes()) > 0 {
		return errClash
	}
	if !p.Writes() {
		return nil
	}
	if err := p.MakeDir(); err != nil {
		return err
	}
	written := maps.Clone(p.last)
	for i := range p.Changes {
		c := &p.Changes[i]
		if !c.Outcome.Writes() {
			continue
		}
		if err := p.write(c); err != nil {
			return err
		}
		sum, remembered := p.next[c.Path]
		if !remembered {
			continue
		}
		written[c.Path] = sum
		if err := written.write(p.dir); err != nil {
			return err
		}
	}
	if maps.Equal(written, p.next) {
		return nil
	}
	return p.next.write(p.dir)
}

func (p *Plan) write(c *Change) error {
	path := filepath.Join(p.dir, filepath.FromSlash(c.Path))
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return err
	}
	if c.Outcome == Replace {
		backup, err := backUp(path)
		if err != nil {
			return err
		}
		c.Backup = filepath.ToSlash(filepath.Join(filepath.Dir(c.Path), filepath.Base(backup)))
	}
	return replace(path, c.New, c.mode, c.owner)
}

// replace writes a file as a whole, after what an interrupted write may have left.
func replace(path string, content []byte, mode fs.FileMode, owner ...file.Owner) error {
	err := file.Sweep(path)
	if err == nil {
		err = file.Write(path, content, mode, owner...)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// backUp gives a file a second name that is not in use.
func backUp(path string) (string, error) {
	for i := range maxBackups {
		backup := path + backupExt
		if i > 0 {
			backup += strconv.Itoa(i)
		}
		err := os.Link(path, backup)
		if err == nil {
			return backup, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep a copy of what is there: %w", err)
		}
	}
	return "", fmt.Errorf("keep a copy of %s: there are %d copies already", path, maxBackups)
}

// makeDirs makes a directory and its parents with a mode that lets other users enter them, whatever the umask.
func makeDirs(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is there and is not a folder: move it away", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for the folder: %w", err)
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirMode); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	return nil
}
