//go:build !linux

package webhook

import (
	"errors"
	"syscall"
)

// errNoReusePort is for kernels that do not share connections out as Linux does.
var errNoReusePort = errors.New("serving.reusePort works only on Linux")

func shareAddress(_, _ string, _ syscall.RawConn) error { return errNoReusePort }

func (l *listener) ignoreNew() error { return nil }

func (l *listener) hasWaiting() bool { return false }
