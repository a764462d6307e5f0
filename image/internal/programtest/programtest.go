// Package programtest builds programs that do next to nothing and pass for those of a release, so that tests do not wait.
package programtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/image/internal/program"
)

// Tiny is such a program. Its zero value passes for jobgate on linux/amd64.
type Tiny struct {
	Package string   // program.Jobgate when empty
	Says    string   // makes two of them differ
	Flags   []string // of go build; -trimpath when nil
	Env     []string // over CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOAMD64=v1 GOARM64=v8.0
}

// Build returns the program's file.
func (p Tiny) Build(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if p.Package == "" {
		p.Package = program.Jobgate
	}
	if p.Flags == nil {
		p.Flags = []string{"-trimpath"}
	}
	module, main, _ := strings.Cut(p.Package, "/cmd/")
	Write(t, filepath.Join(dir, "go.mod"), "module "+module+"\n\ngo 1.26.0\n")
	Write(t, filepath.Join(dir, "cmd", main, "main.go"), "package main\n\nfunc main() { println(\""+p.Says+"\") }\n")
	binary := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", binary}, p.Flags...), "./cmd/"+main)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Env = append(cmd.Env, p.Env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return binary
}

// Write writes a file and the folders above it.
func Write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
