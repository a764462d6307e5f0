package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// buildContext copies what .dockerignore lets a container engine see of the tree.
func buildContext(t *testing.T) string {
	t.Helper()
	ignore, err := os.Open("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		t.Fatal(err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	err = fs.WalkDir(os.DirFS(".."), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		ignored, err := matcher.MatchesOrParentMatches(path)
		if err != nil {
			return err
		}
		switch {
		case ignored && entry.IsDir():
			return fs.SkipDir // no pattern of .dockerignore brings back a part of what another leaves out
		case ignored:
			return nil
		case entry.IsDir():
			return os.Mkdir(filepath.Join(dir, path), 0o755)
		}
		content, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), content, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// shell runs a command line in dir, with the variables that a container engine sets in a build.
func shell(t *testing.T, dir, command string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir = dir
	for _, variable := range os.Environ() {
		// A make above must not pass on its own targets and variables.
		if name, _, _ := strings.Cut(variable, "="); !strings.HasPrefix(name, "MAKE") && name != "MFLAGS" && name != "VERSION" {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s in %s: %v\n%s", command, dir, err, out)
	}
}
