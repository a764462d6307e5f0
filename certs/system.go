//go:build linux || darwin

package certs

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock on an open directory, which ends when that is closed; false while somebody else has it.
func tryLock(directory *os.File) (bool, error) {
	err := syscall.Flock(int(directory.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
