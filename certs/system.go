//go:build linux || darwin

package certs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// ownerOf is who owns a file.
func ownerOf(info fs.FileInfo) owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return owner{uid: int(s.Uid), gid: int(s.Gid)}
	}
	return anybody
}

// notPermitted says that an error of a chown is about who the process is. In a user namespace an owner that it does not know
// is invalid.
func notPermitted(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL)
}

// tryLock takes the lock on an open directory, which ends when that is closed; false while somebody else has it.
func tryLock(directory *os.File) (bool, error) {
	err := syscall.Flock(int(directory.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// syncDirectory makes a rename outlast a crash.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}
