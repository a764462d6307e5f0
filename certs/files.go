package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// maxFile bounds what is read of a file, in bytes. A bundle of a hundred CAs is a fifth of it.
const maxFile = 1 << 20

// The modes of what is written for the first time.
const (
	modeSecret mode = 0o600
	modeGroup  mode = 0o040 // of a leaf certificate's key, where an administrator has added it
	modePublic mode = 0o644
	// modeDirectory lets the API server, which may be another user, open its two files by their names. Who may not read the
	// directory cannot take its lock either.
	modeDirectory mode = 0o711
)

// How long an operation waits for another one in the same directory, and how often it looks.
const (
	lockTimeout  = 10 * time.Second
	lockInterval = 20 * time.Millisecond
)

// mode is a file's permissions.
type mode = fs.FileMode

// file is one of the directory's files as it was read, or has been written since.
type file struct {
	content []byte
	mode    mode
	owner   owner
}

// contents are the directory's files by their names; "." is the directory itself.
type contents map[string]file

// read reads the files that are there.
func (p *PKI) read() (contents, error) {
	c := contents{}
	info, err := os.Stat(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the PKI: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("read the PKI: %s is not a directory", p.dir)
	}
	c["."] = file{mode: info.Mode().Perm(), owner: ownerOf(info)}
	for _, name := range []string{CAFile, SigningFile, NextSigningFile, ServingFile, ClientFile} {
		f, err := readFile(filepath.Join(p.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the PKI: %w", err)
		}
		c[name] = f
	}
	return c, nil
}

// readFile reads a regular file of at most maxFile bytes. The error names it.
func readFile(path string) (file, error) {
	// Asked first, because to open a FIFO may take for ever.
	info, err := os.Stat(path)
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		return file{}, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return file{}, err
	}
	if len(text) > maxFile {
		return file{}, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return file{content: text, mode: info.Mode().Perm(), owner: ownerOf(info)}, nil
}

// ownerFor is who owns a file already. A new one goes to the owner of the CA's key, so that what an administrator starts
// by hand can be carried on by the jobgate that owns the PKI.
func (c contents) ownerFor(name string) owner {
	for _, like := range []string{name, SigningFile} {
		if f, ok := c[like]; ok {
			return f.owner
		}
	}
	return anybody
}

// take has a write as it has been made.
func (c contents) take(w *write) {
	if w.kind == removeFile {
		delete(c, w.File)
		return
	}
	f := c[w.File]
	if w.kind == replaceFile {
		f.content = w.content
	}
	f.mode, f.owner = w.mode, w.owner.or(f.owner)
	c[w.File] = f
}

// apply makes a write.
func (p *PKI) apply(w *write) error {
	path := filepath.Join(p.dir, w.File)
	var err error
	switch w.kind {
	case replaceFile:
		err = p.replace(w)
	case removeFile:
		err = os.Remove(path)
	case makeDirectory:
		if err = os.MkdirAll(p.dir, w.mode); err == nil {
			err = w.owner.give(p.dir, w.mode)
		}
	case changeAttributes:
		if err = w.owner.give(path, w.mode); err == nil {
			err = os.Chmod(path, w.mode)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// replace puts a new file in the place of an old one: whoever reads it finds the one or the other, whole, and so does
// everybody after a crash. Until it is in its place it is nobody's but the owner's to read.
func (p *PKI) replace(w *write) error {
	next, err := os.CreateTemp(p.dir, temporary(w.File, "*")) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(next.Name()) // gone already after success
	defer next.Close()
	if _, err := io.Copy(next, bytes.NewReader(w.content)); err != nil {
		return err
	}
	if err := w.owner.give(next.Name(), w.mode); err != nil {
		return err
	}
	if err := next.Chmod(w.mode); err != nil {
		return err
	}
	if err := next.Sync(); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), filepath.Join(p.dir, w.File)); err != nil {
		return err
	}
	return syncDirectory(p.dir)
}

// temporary is the name of a file that is yet to be put in its place; * for any.
func temporary(name, random string) string { return "." + name + "." + random + ".tmp" }

// sweep removes what interrupted writes have left. Only the holder of the lock may.
func (p *PKI) sweep() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("look for unfinished files: %w", err)
	}
	for _, e := range entries {
		// The pattern is well formed.
		if unfinished, _ := filepath.Match(temporary("*", "*"), e.Name()); !unfinished {
			continue
		}
		if err := os.Remove(filepath.Join(p.dir, e.Name())); err != nil {
			return fmt.Errorf("remove an unfinished file: %w", err)
		}
	}
	return nil
}

// lock excludes other writers until unlock is called. It creates the directory's lock, not the directory.
func (p *PKI) lock() (unlock func(), err error) {
	directory, err := os.Open(p.dir)
	if err != nil {
		return nil, fmt.Errorf("lock the PKI: %w", err)
	}
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockInterval) {
		locked, err := tryLock(directory)
		if locked {
			return func() { directory.Close() }, nil
		}
		if err == nil && time.Now().After(deadline) {
			err = fmt.Errorf("another jobgate has been writing to it for %s", lockTimeout)
		}
		if err != nil {
			directory.Close()
			return nil, fmt.Errorf("lock the PKI in %s: %w", p.dir, err)
		}
	}
}
