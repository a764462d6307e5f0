//go:build linux || darwin

package file

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

// OwnerOf is who owns a file.
func OwnerOf(info fs.FileInfo) Owner {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return Owner{UID: int(s.Uid), GID: int(s.Gid)}
	}
	return Owner{UID: Any, GID: Any}
}

// notPermitted says that a chown failed because of who the process is. In a user namespace, an owner that it does not know
// is invalid.
func notPermitted(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL)
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
