package conffile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install/conffile"
	"github.com/jobgate/jobgate/internal/installtest"
)

func TestApply_ModesHoldWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "b")
	files := append(wanted("1"), conffile.File{Path: "secret", Content: []byte("2"), Mode: 0o600, Secret: true})
	apply(t, dir, files, conffile.Refuse)
	for file, want := range map[string]fs.FileMode{
		"": 0o755, "sub": 0o755, name: 0o644, "secret": 0o600, conffile.State: 0o644, "..": 0o755,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", file, got, want)
		}
	}
}

func TestApply_AnExistingFileKeepsItsMode(t *testing.T) {
	dir := t.TempDir()
	apply(t, dir, wanted("1"), conffile.Refuse)
	must(t, os.Chmod(filepath.Join(dir, name), 0o640))
	apply(t, dir, wanted("2"), conffile.Refuse)
	if got := installtest.Tree(t, dir)[name].String(); got != "-rw-r----- 2" {
		t.Errorf("got %s", got)
	}
}

// A write that is interrupted leaves the file as it was, and something that is no file of the directory's.
func TestApply_FinishesWhatWasInterrupted(t *testing.T) {
	files := func(version string) []conffile.File {
		return []conffile.File{
			{Path: "a", Content: []byte("a" + version), Mode: 0o644},
			{Path: "b", Content: []byte("b" + version), Mode: 0o644},
			{Path: "c", Content: []byte("c" + version), Mode: 0o644},
		}
	}
	dir := t.TempDir()
	apply(t, dir, files("1"), conffile.Refuse)
	// A folder in the place of b: so a has been written, and b and c have not.
	p := plan(t, dir, files("2"), conffile.Refuse)
	b := filepath.Join(dir, "b")
	must(t, os.Remove(b))
	must(t, os.MkdirAll(filepath.Join(b, "x"), 0o755))
	if err := p.Apply(); err == nil || !strings.Contains(err.Error(), "write "+b+": ") {
		t.Fatalf("got %v", err)
	}
	must(t, os.RemoveAll(b))
	put(t, dir, "b", "b1")
	put(t, dir, ".b.1.tmp", "b") // as a power failure leaves it
	now := installtest.Tree(t, dir)
	if diff := cmp.Diff([]string{"-rw-r--r-- a2", "-rw-r--r-- b1", "-rw-r--r-- c1"}, []string{now["a"].String(), now["b"].String(), now["c"].String()}); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
	// Not the content of the interrupted run, which must not be in the way: nothing was changed by hand.
	apply(t, dir, files("3"), conffile.Refuse)
	now = installtest.Tree(t, dir)
	if diff := cmp.Diff([]string{"-rw-r--r-- a3", "-rw-r--r-- b3", "-rw-r--r-- c3"}, []string{now["a"].String(), now["b"].String(), now["c"].String()}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if len(now) != 5 {
		t.Errorf("something is left: %v", now)
	}
	checkSettled(t, dir, files("3"))
}

func TestNewPlan_RefusesWhatIsNoFile(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(file string) error
		want string
	}{
		{"folder", func(file string) error { return os.Mkdir(file, 0o755) }, "not a regular file: move it away"},
		{"symbolic link", func(file string) error { return os.Symlink("elsewhere", file) }, "not a regular file: move it away"},
		{"pipe", func(file string) error { return syscall.Mkfifo(file, 0o644) }, "not a regular file: move it away"},
		{"huge file", func(file string) error { return os.WriteFile(file, make([]byte, 4<<20+1), 0o644) }, "too large: more than 4194304 bytes: move it away"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
			must(t, row.make(filepath.Join(dir, name)))
			if _, err := conffile.NewPlan(dir, wanted("new"), conffile.TakeNew); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestApply_SaysWhatIsInThePlaceOfAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	p := plan(t, dir, wanted("new"), conffile.Refuse)
	must(t, os.WriteFile(dir, nil, 0o644))
	if err := p.Apply(); err == nil || !strings.Contains(err.Error(), "is not a folder: move it away") {
		t.Errorf("got %v", err)
	}
}

func TestDiff(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	for _, row := range []struct{ name, old, new, want string }{
		{"new file", "", "a\nb\n", "--- /dev/null\n+++ DIR/sub/file\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"changed line", "a\nb\nc\n", "a\nx\nc\n", "--- DIR/sub/file\n+++ DIR/sub/file\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"},
		{
			"no newline at the end", "a", "a\n",
			"--- DIR/sub/file\n+++ DIR/sub/file\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n",
		},
		{
			"values of secret keys", "user:\n  token: abc\n  \"client-key-data\": abc\n- password: abc\nautomountServiceAccountToken: true\n", "tokenFile: x\n",
			"--- DIR/sub/file\n+++ DIR/sub/file\n@@ -1,5 +1 @@\n-user:\n-  token: (not shown)\n-  \"client-key-data\": (not shown)\n" +
				"-- password: (not shown)\n-automountServiceAccountToken: true\n+tokenFile: x\n",
		},
		{"a private key", key, "a\n", "--- DIR/sub/file\n+++ DIR/sub/file\n(not shown: there is a secret in it)\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if row.old != "" {
				put(t, dir, name, row.old)
			}
			got := plan(t, dir, wanted(row.new), conffile.TakeNew).Changes[0].Diff("DIR")
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
