package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree is the folder that the program's manifests come from.
const tree = "../../manifests"

func TestManifests_ListHasEveryFileOfTheTree(t *testing.T) {
	out, status, err := run(t, "", "manifests")
	if status != 0 {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for line := range strings.Lines(out) {
		name, comment, _ := strings.Cut(strings.TrimSpace(line), " ")
		listed[name] = comment
	}
	files := 0
	err = filepath.WalkDir(tree, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(file) == ".go" {
			return err
		}
		files++
		name, err := filepath.Rel(tree, file)
		if comment, ok := listed[name]; !ok {
			t.Errorf("%s is not listed", name)
		} else if folder := filepath.Dir(name); (folder == "rbac" || folder == "admission") && comment == "" {
			t.Errorf("%s does not begin with a comment that says what it is", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files != len(listed) {
		t.Errorf("%d listed, %d in the tree", len(listed), files)
	}
}

func TestManifests_Print(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(tree, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rows := []struct {
		name string
		args []string
		want string
	}{
		{"a file", []string{"rbac/ci-job-view.yaml"}, read("rbac/ci-job-view.yaml")},
		{"a name with a slash at its end", []string{"restrictions/"}, read("restrictions/protected-refs.yaml")},
		{
			"files become documents", []string{"rbac/ci-job-view.yaml", "rbac/deploy-from-prod.yaml"},
			read("rbac/ci-job-view.yaml") + "---\n" + read("rbac/deploy-from-prod.yaml"),
		},
		{
			"a folder", []string{"admission"},
			read("admission/environment-tier.yaml") + "---\n" + read("admission/stamp-pod-templates.yaml") +
				"---\n" + read("admission/stamp.yaml"),
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			out, status, err := run(t, "", append([]string{"manifests"}, row.args...)...)
			if status != 0 || out != row.want {
				t.Errorf("status %d, %v; printed %d bytes, want %d", status, err, len(out), len(row.want))
			}
		})
	}
}

func TestManifests_UnknownNameIsAnError(t *testing.T) {
	for _, name := range []string{"rbac/none.yaml", "../go.mod", "/etc/passwd"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			out, status, err := run(t, "", "manifests", name)
			if status != 1 || out != "" || err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("status %d, %v: %s", status, err, out)
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
