package certs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jobgate/jobgate/internal/file"
)

// maxFile bounds what is read of a file, in bytes. A bundle of a hundred CAs is a fifth of it.
const maxFile = 1 << 20

// The modes of what is written for the first time.
const (
	modeSecret mode = 0o600
	modeGroup  mode = 0o040 // of a leaf certificate's key, if an administrator has added it
	modePublic mode = 0o644
	// modeDirectory lets the API server, which may run as another user, open its two files by their names. A user who may not
	// read the directory cannot lock it either.
	modeDirectory mode = 0o711
)

// How long an operation waits for another one in the same directory, and how often it looks.
const (
	lockTimeout  = 10 * time.Second
	lockInterval = 20 * time.Millisecond
)

// anyone leaves a file to its owner.
func anyone() file.Owner { return file.Owner{UID: file.Any, GID: file.Any} }

// mode is a file's permissions.
type mode = fs.FileMode

// entry is one of the directory's files as it was read, or has been written since.
type entry struct {
	content []byte
	mode    mode
	owner   file.Owner
}

// contents are the directory's files by their names; "." is the directory itself.
type contents map[string]entry

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
		return nil, fmt.Errorf("read the PKI: %s is not a folder", p.dir)
	}
	c["."] = entry{mode: info.Mode().Perm(), owner: file.OwnerOf(info)}
	for _, name := range fileNames() {
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

// readFile reads a file of the PKI, or another one with certificates.
func readFile(path string) (entry, error) {
	content, info, err := file.ReadWithInfo(path, maxFile)
	if err != nil {
		return entry{}, err
	}
	return entry{content: content, mode: info.Mode().Perm(), owner: file.OwnerOf(info)}, nil
}

// ownerFor is who owns a file already. A new one goes to the owner of the CA's key, so that the jobgate that owns the PKI can
// go on with what an administrator starts as root.
func (c contents) ownerFor(name string) file.Owner {
	for _, like := range []string{name, SigningFile} {
		if f, ok := c[like]; ok {
			return f.owner
		}
	}
	return anyone()
}

// take notes a write that was made.
func (c contents) take(w *write) {
	if w.kind == removeFile {
		delete(c, w.File)
		return
	}
	f := c[w.File]
	if w.kind == replaceFile {
		f.content = w.content
	}
	f.mode, f.owner = w.mode, w.owner.Or(f.owner)
	c[w.File] = f
}

// apply makes a write.
func (p *PKI) apply(w *write) error {
	path := filepath.Join(p.dir, w.File)
	var err error
	switch w.kind {
	case replaceFile:
		err = file.Write(path, w.content, w.mode, w.owner)
	case removeFile:
		err = os.Remove(path)
	case makeDirectory:
		if err = os.MkdirAll(p.dir, w.mode); err == nil {
			err = w.owner.Give(p.dir, w.mode)
		}
	case changeAttributes:
		if err = w.owner.Give(path, w.mode); err == nil {
			err = os.Chmod(path, w.mode)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// sweep removes what interrupted writes have left. Only the holder of the lock may.
func (p *PKI) sweep() error {
	for _, name := range fileNames() {
		if err := file.Sweep(filepath.Join(p.dir, name)); err != nil {
			return err
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
