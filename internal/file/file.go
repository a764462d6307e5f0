// Package file reads and writes single files: a read has a bound and opens regular files alone, a write replaces the file
// as a whole, and Exposed tells what a file's mode gives away.
//
// It knows paths, modes and owners. It must not know what is in the files.
package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Why a file is not read. Both come in a *fs.PathError, as the errors of package os do.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("the file is too large")
)

// Read reads a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	content, _, err := ReadWithInfo(path, limit)
	return content, err
}

// ReadWithInfo is Read, and says which mode and owner the file has.
func ReadWithInfo(path string, limit int64) ([]byte, fs.FileInfo, error) {
	// Look before opening: to open a pipe waits for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &fs.PathError{Op: "read", Path: path, Err: ErrNotRegular}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(content)) > limit {
		return nil, nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
	}
	return content, info, nil
}

// Write replaces a file, or makes it. Readers find the old content or the new one, never a part, and so does the next start
// after a crash. The file has the mode, whatever the umask. An owner given here is the new file's; otherwise it is the
// process's own. Of a symbolic link, Write replaces the link.
func Write(path string, content []byte, mode fs.FileMode, owner ...Owner) error {
	next, err := os.CreateTemp(filepath.Dir(path), unfinishedPrefix(path)+"*"+unfinishedSuffix) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // after a success it is gone already
	err = fill(next, content, mode, owner)
	if err := errors.Join(err, next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func fill(f *os.File, content []byte, mode fs.FileMode, owner []Owner) error {
	if _, err := io.Copy(f, bytes.NewReader(content)); err != nil {
		return err
	}
	for _, o := range owner {
		if err := o.Give(f.Name(), mode); err != nil {
			return err
		}
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	return f.Sync()
}

const unfinishedSuffix = ".tmp"

// unfinishedPrefix is how the name begins that a file has before it takes its place.
func unfinishedPrefix(path string) string { return "." + filepath.Base(path) + "." }

// Sweep removes what interrupted writes of a file have left beside it. Only a caller that excludes other writers may do so.
func Sweep(path string) error {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for unfinished files: %w", err)
	}
	for _, e := range entries {
		random, ok := strings.CutPrefix(e.Name(), unfinishedPrefix(path))
		if random, ok2 := strings.CutSuffix(random, unfinishedSuffix); !ok || !ok2 || strings.Contains(random, ".") {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove an unfinished file: %w", err)
		}
	}
	return nil
}
