package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestReadProgram(t *testing.T) {
	rows := []struct {
		name     string
		program  tiny
		platform string
		err      string // part of it; empty: none
	}{
		{"amd64", tiny{}, "linux/amd64", ""},
		{"arm64", tiny{env: []string{"GOARCH=arm64"}}, "linux/arm64", ""},
		{"ppc64le", tiny{env: []string{"GOARCH=ppc64le"}}, "linux/ppc64le", ""},
		{"s390x", tiny{env: []string{"GOARCH=s390x"}}, "linux/s390x", ""},
		{"for new processors alone", tiny{env: []string{"GOAMD64=v3"}}, "", "GOAMD64=v3, want v1"},
		{"another program", tiny{mainPackage: "cmd/other"}, "", "is github.com/jobgate/jobgate/cmd/other, want"},
		{"with directories of the build machine", tiny{flags: []string{"-v"}}, "", "-trimpath="},
		{"with cgo", tiny{env: []string{"CGO_ENABLED=1"}}, "", "CGO_ENABLED=1"},
		{"position-independent", tiny{flags: []string{"-trimpath", "-buildmode=pie"}}, "", "linked dynamically"},
		{"another system", tiny{env: []string{"GOOS=windows"}}, "", "GOOS=windows"},
		{"a platform without control planes", tiny{env: []string{"GOARCH=386"}}, "", "built for 386"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p, err := readProgram(row.program.build(t))
			switch {
			case row.err == "" && err != nil:
				t.Fatal(err)
			case row.err == "" && p.platform.String() != row.platform:
				t.Errorf("platform is %s, want %s", p.platform, row.platform)
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}

func TestReadPrograms_Refused(t *testing.T) {
	binary := tiny{}.build(t)
	text := filepath.Join(t.TempDir(), "text")
	write(t, text, "no program")
	rows := []struct {
		name  string
		files []string
		err   string
	}{
		{"no file", []string{filepath.Join(t.TempDir(), "jobgate")}, "no such file"},
		{"no program", []string{text}, "is not a Go program"},
		{"one platform twice", []string{binary, binary}, "are both for linux/amd64"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := readPrograms(row.files); err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}
