package conffile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
)

const (
	dirMode    fs.FileMode = 0o755
	maxBackups             = 100
	backupExt              = ".bak"
	partialExt             = ".partial" // of a file that is being written
)

// errClash is the caller's mistake: a plan with conflicts is shown, not applied.
var errClash = errors.New("the plan has conflicts")

// MakeDir makes the directory, for others to enter whatever the umask, and does nothing where it is. Apply does so, too.
func (p *Plan) MakeDir() error { return makeDirs(p.dir) }

// Apply does what the plan says. Each file is replaced as a whole or not at all, and is remembered as soon as it is
// there, so that an Apply that was interrupted is finished by the next one.
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
	file := filepath.Join(p.dir, filepath.FromSlash(c.Path))
	if err := makeDirs(filepath.Dir(file)); err != nil {
		return err
	}
	if c.Outcome == Replace {
		backup, err := backUp(file)
		if err != nil {
			return err
		}
		c.Backup = filepath.ToSlash(filepath.Join(filepath.Dir(c.Path), filepath.Base(backup)))
	}
	return writeFile(file, c.New, c.mode)
}

// backUp gives a file a second name, of which it never takes one that is in use.
func backUp(file string) (string, error) {
	for i := range maxBackups {
		backup := file + backupExt
		if i > 0 {
			backup += strconv.Itoa(i)
		}
		err := os.Link(file, backup)
		if err == nil {
			return backup, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep a copy of what is there: %w", err)
		}
	}
	return "", fmt.Errorf("keep a copy of %s: there are %d copies already", file, maxBackups)
}

// writeFile replaces a file by a rename, so that whoever reads it, and whatever interrupts this, finds the old or the
// new content whole. The mode holds whatever the umask; an existing file keeps its owner.
func writeFile(file string, content []byte, mode fs.FileMode) (err error) {
	partial := file + partialExt
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what an interrupted write left: %w", err)
	}
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", file, errors.Join(err, os.Remove(partial)))
		}
	}()
	if err := fill(f, file, content, mode); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(partial, file); err != nil {
		return err
	}
	return sync(filepath.Dir(file))
}

func fill(f *os.File, file string, content []byte, mode fs.FileMode) error {
	if _, err := f.Write(content); err != nil {
		return err
	}
	if present, err := os.Stat(file); err == nil {
		if err := keepOwner(f, present); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

// makeDirs makes what is missing of a directory, for others to enter whatever the umask.
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
