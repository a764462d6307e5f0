package installtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Entry is a file or a folder as it is found.
type Entry struct {
	Mode    fs.FileMode
	Time    time.Time // of its last change
	Content string    // of a file
}

// String is the entry without its time.
func (e Entry) String() string { return e.Mode.String() + " " + e.Content }

// Tree is everything below a folder, by its path in it: two that are equal say that nothing was written in between.
func Tree(t testing.TB, dir string) map[string]Entry {
	t.Helper()
	all := map[string]Entry{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var content []byte
		if entry.Type().IsRegular() {
			if content, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		relative, err := filepath.Rel(dir, path)
		all[relative] = Entry{Mode: info.Mode(), Time: info.ModTime(), Content: string(content)}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
