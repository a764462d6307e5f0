//go:build linux || darwin

package certs

import (
	"errors"
	"os"
	"syscall"
)

// tryLock locks an open directory until that is closed; false while another process has the lock.
func tryLock(directory *os.File) (bool, error) {
	err := syscall.Flock(int(directory.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
