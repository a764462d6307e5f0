package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

func TestRun_GoIsAlwaysThere(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run([]string{programtest.Tiny{}.Build(t)}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nGo (LICENSE)\n", "\nGo (PATENTS)\n", "The Go Authors"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("there is no %q in\n%s", want, out.String())
		}
	}
}

// crane is a program with modules that is at hand: the module of this test has it as a tool.
func TestRun_EveryModuleIsNamed(t *testing.T) {
	t.Parallel()
	crane := filepath.Join(t.TempDir(), "crane")
	programtest.Shell(t, ".", "go build -o "+crane+" github.com/google/go-containerregistry/cmd/crane")
	modules, err := readModules([]string{crane, crane})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run([]string{crane}, &out); err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		if !strings.Contains(out.String(), "\n"+m.path+" "+m.version+" (LICENSE") {
			t.Errorf("%s is not named", m)
		}
	}
	if len(modules) < 5 {
		t.Errorf("%d modules", len(modules))
	}
}

func TestRun_Refused(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	programtest.Write(t, text, "no program")
	for _, row := range []struct {
		name  string
		files []string
		err   string
	}{
		{"no binary", nil, "at least one binary"},
		{"no program", []string{text}, "binary " + text},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := run(row.files, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}

// A changed module is found out by its sum.
func TestLocate_ComparesSums(t *testing.T) {
	t.Parallel()
	_, err := locate([]module{{path: "github.com/google/go-cmp", version: "v0.7.0", sum: "h1:other"}})
	if err == nil || !strings.Contains(err.Error(), "the program was built from h1:other") {
		t.Errorf("error is %v", err)
	}
}

func TestCollection(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, text := range map[string]string{
		"a/LICENSE":                     "one\n",
		"a/NOTICE.txt":                  "notice of a\n",
		"a/third_party/fork/LICENSE.md": "two\n",
		"a/license.go":                  "package a\n",
		"a/vendor/x/LICENSE":            "vendored\n",
		"a/testdata/LICENSE":            "test data\n",
		"b/COPYING":                     "one\n",
		"none/README":                   "nothing\n",
	} {
		programtest.Write(t, filepath.Join(root, name), text)
	}
	var c collection
	for _, name := range []string{"a", "b"} {
		if err := c.add(source{name: name, dir: filepath.Join(root, name)}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"one", "notice of a", "two"}; !slices.Equal(c.texts, want) {
		t.Errorf("texts are %q, want %q", c.texts, want)
	}
	if got, want := c.of["one"], []string{"a (LICENSE)", "b (COPYING)"}; !slices.Equal(got, want) {
		t.Errorf("the licence is of %q, want %q", got, want)
	}
	if err := c.add(source{name: "none", dir: filepath.Join(root, "none")}); err == nil || !strings.Contains(err.Error(), "none has no licence") {
		t.Errorf("error is %v", err)
	}
}
