package conffile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install/conffile"
	"github.com/jobgate/jobgate/internal/installtest"
)

// unprivileged has files opened as by a user without rights, even if the tests run as root.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	const user = 65534
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		must(t, syscall.Setfsuid(user))
		defer func() { must(t, syscall.Setfsuid(0)) }()
	}
	do()
}

// reachable is a folder that every user can enter.
func reachable(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	return dir
}

func TestApply_SaysWhereItMayNotWrite(t *testing.T) {
	dir := reachable(t)
	apply(t, dir, wanted("1"), conffile.Refuse)
	must(t, os.Chmod(filepath.Join(dir, "sub"), 0o555))
	defer func() { must(t, os.Chmod(filepath.Join(dir, "sub"), 0o755)) }()
	before := installtest.Tree(t, dir)
	p := plan(t, dir, wanted("2"), conffile.Refuse)
	unprivileged(t, func() {
		err := p.Apply()
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), filepath.Join(dir, name)) {
			t.Errorf("got %v", err)
		}
	})
	if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestApply_SaysWhereItMayNotMakeTheFolder(t *testing.T) {
	dir := filepath.Join(reachable(t), "readonly", "jobgate")
	must(t, os.Mkdir(filepath.Dir(dir), 0o555))
	p := plan(t, dir, wanted("1"), conffile.Refuse)
	unprivileged(t, func() {
		if err := p.Apply(); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
	})
}
