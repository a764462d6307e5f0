//go:build unix && !linux

package process

import "syscall"

// Without a parent-death signal a killed parent leaves its children behind; an orderly end does not.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
