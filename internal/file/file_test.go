package file_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/jobgate/jobgate/internal/file"
)

func TestRead_OpensRegularFilesOfBoundedSizeAlone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string]string{"full": "1234", "larger": "12345", "empty": ""} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// To open it would wait for a writer.
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("full", at("link")); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name string
		want string
		err  error
	}{
		{name: "full", want: "1234"},
		{name: "link", want: "1234"},
		{name: "empty"},
		{name: "larger", err: file.ErrTooLarge},
		{name: "pipe", err: file.ErrNotRegular},
		{name: ".", err: file.ErrNotRegular},
		{name: "missing", err: fs.ErrNotExist},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := file.Read(at(row.name), 4)
			if string(got) != row.want || !errors.Is(err, row.err) {
				t.Errorf("Read returned %q, %v; want %q, %v", got, err, row.want, row.err)
			}
			var named *fs.PathError
			if err != nil && (!errors.As(err, &named) || named.Path != at(row.name)) {
				t.Errorf("the error does not name the file: %v", err)
			}
		})
	}
}

func TestWrite_ReplacesTheWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	write := func(content string, mode fs.FileMode) {
		t.Helper()
		if err := file.Write(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		got, info, err := file.ReadWithInfo(path, 100)
		if err != nil || string(got) != content || info.Mode() != mode {
			t.Errorf("the file has %q and mode %v, %v; want %q and %v", got, info.Mode(), err, content, mode)
		}
	}
	write("first", 0o644)
	reader, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	write("2", 0o600)
	if got, err := io.ReadAll(reader); string(got) != "first" {
		t.Errorf("a reader of the old file gets %q, %v", got, err)
	}
}

func TestWrite_FailureLeavesTheOldFileAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config")
	if err := file.Write(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	rows := []struct{ name, path string }{
		{name: "directory is missing", path: filepath.Join(dir, "missing", "config")},
		{name: "directory is in the way", path: filepath.Join(dir, "folder")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := file.Write(row.path, []byte("new"), 0o600); err == nil {
				t.Error("Write returned no error")
			}
			if got, err := file.Read(path, 100); string(got) != "old" {
				t.Errorf("the file has %q, %v", got, err)
			}
			if got := names(t, dir); !slices.Equal(got, []string{"config", "folder"}) {
				t.Errorf("the directory has %v", got)
			}
		})
	}
}

func TestSweep_RemovesWhatInterruptedWritesOfThisFileLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"config", ".config.123.tmp", ".config.456.tmp", // two of ours
		".config.d.123.tmp", ".other.123.tmp", ".config.123", "config.123.tmp", // others'
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Sweep(filepath.Join(dir, "config")); err != nil {
		t.Fatal(err)
	}
	want := []string{".config.123", ".config.d.123.tmp", ".other.123.tmp", "config", "config.123.tmp"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
}

func TestExposed(t *testing.T) {
	rows := []struct {
		name string
		kind file.Kind
		mode fs.FileMode
		want string // without the path
	}{
		{name: "private CA key", kind: file.OwnSecret, mode: 0o600},
		{name: "CA key of a group", kind: file.OwnSecret, mode: 0o640, want: "its group may read it (mode 0640); run chmod 0600"},
		{name: "CA key for all", kind: file.OwnSecret, mode: 0o777, want: "every user may read and change it (mode 0777); run chmod 0600"},
		{name: "key of a group", kind: file.Secret, mode: 0o640},
		{name: "key for all", kind: file.Secret, mode: 0o644, want: "every user may read it (mode 0644); run chmod 0640"},
		{name: "key that a group may change", kind: file.Secret, mode: 0o660, want: "its group may change it (mode 0660); run chmod 0640"},
		{name: "public configuration", kind: file.Trusted, mode: 0o644},
		{name: "configuration of a group", kind: file.Trusted, mode: 0o664, want: "its group may change it (mode 0664); run chmod 0644"},
		{name: "directory for all", kind: file.Trusted, mode: fs.ModeDir | 0o777, want: "every user may change it (mode 0777); run chmod 0755"},
		{name: "private directory", kind: file.Trusted, mode: fs.ModeDir | 0o711},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "it")
			create := func() error { return os.WriteFile(path, nil, 0o600) }
			if row.mode.IsDir() {
				create = func() error { return os.Mkdir(path, 0o700) }
			}
			if err := errors.Join(create(), os.Chmod(path, row.mode.Perm())); err != nil {
				t.Fatal(err)
			}
			want := ""
			if row.want != "" {
				want = row.want + " " + path
			}
			if got := file.Exposed(path, row.kind); got != want {
				t.Errorf("Exposed returned %q, want %q", got, want)
			}
		})
	}
	if got := file.Exposed(filepath.Join(t.TempDir(), "missing"), file.OwnSecret); got != "" {
		t.Errorf("Exposed returned %q for a file that is missing", got)
	}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
