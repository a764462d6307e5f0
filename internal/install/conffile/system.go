//go:build linux || darwin

package conffile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file to the owner of the present one. It changes nothing where nothing differs: who is not root may not
// even try.
func keepOwner(f *os.File, present fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	want, known := present.Sys().(*syscall.Stat_t)
	is, ok := info.Sys().(*syscall.Stat_t)
	if !known || !ok || (is.Uid == want.Uid && is.Gid == want.Gid) {
		return nil
	}
	return f.Chown(int(want.Uid), int(want.Gid))
}

// sync makes a rename last through a power failure.
func sync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
