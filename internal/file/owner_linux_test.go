package file_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/jobgate/jobgate/internal/file"
)

// withoutRights runs f as a user who may not give files away. Root runs it on a thread that drops its rights.
func withoutRights(t *testing.T, path string, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	const user = 65532
	if err := os.Chown(path, user, user); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		if err := errors.Join(syscall.Setfsgid(user), syscall.Setfsuid(user)); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-ended
}

func TestGive_OwnerWhoCannotHaveTheFileCanStillReadIt(t *testing.T) {
	const other = 12345
	rows := []struct {
		name     string
		uid, gid int // -1: the file's
		mode     fs.FileMode
		required bool
		refused  bool
	}{
		{name: "nothing to change", uid: -1, gid: -1, mode: 0o600},
		{name: "root reads everything", uid: 0, gid: -1, mode: 0o600},
		{name: "root's group could not read it anyway", uid: 0, gid: other, mode: 0o600},
		{name: "another user could not read it", uid: other, gid: -1, mode: 0o600, refused: true},
		{name: "another group could not read it", uid: 0, gid: other, mode: 0o640, refused: true},
		{name: "every user may read it", uid: other, gid: other, mode: 0o644},
		{name: "asked for", uid: 0, gid: -1, mode: 0o600, required: true, refused: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for d := dir; d != os.TempDir(); d = filepath.Dir(d) { // for a user who is not root to get there
				if err := os.Chmod(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			withoutRights(t, path, func() { err = file.Owner{UID: row.uid, GID: row.gid, Required: row.required}.Give(path, row.mode) })
			if (err != nil) != row.refused || (err != nil && !errors.Is(err, fs.ErrPermission)) {
				t.Errorf("error is %v, refused should be %t", err, row.refused)
			}
		})
	}
}
