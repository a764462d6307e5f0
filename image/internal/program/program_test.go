package program_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/programtest"
)

func TestRead(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name     string
		program  programtest.Tiny
		platform string
		err      string // part of it; empty: none
	}{
		{name: "amd64", platform: "linux/amd64"},
		{name: "arm64", program: programtest.Tiny{Env: []string{"GOARCH=arm64"}}, platform: "linux/arm64"},
		{name: "ppc64le", program: programtest.Tiny{Env: []string{"GOARCH=ppc64le"}}, platform: "linux/ppc64le"},
		{name: "s390x", program: programtest.Tiny{Env: []string{"GOARCH=s390x"}}, platform: "linux/s390x"},
		{name: "Windows", program: programtest.Tiny{Env: []string{"GOOS=windows"}}, platform: "windows/amd64"},
		{name: "for new processors alone", program: programtest.Tiny{Env: []string{"GOAMD64=v3"}}, err: "GOAMD64=v3, want v1"},
		{name: "another program", program: programtest.Tiny{Package: "github.com/jobgate/jobgate/cmd/other"}, err: "is github.com/jobgate/jobgate/cmd/other, want"},
		{name: "with directories of the build machine", program: programtest.Tiny{Flags: []string{"-v"}}, err: "-trimpath="},
		{name: "with cgo", program: programtest.Tiny{Env: []string{"CGO_ENABLED=1"}}, err: "CGO_ENABLED=1"},
		{name: "a platform without control planes", program: programtest.Tiny{Env: []string{"GOARCH=386"}}, err: "built for 386"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			programs, err := program.Read([]string{row.program.Build(t)}, program.Jobgate)
			switch {
			case row.err == "" && err != nil:
				t.Fatal(err)
			case row.err == "" && programs[0].Platform.String() != row.platform:
				t.Errorf("platform is %s, want %s", programs[0].Platform, row.platform)
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}

func TestRead_Refused(t *testing.T) {
	t.Parallel()
	binary := programtest.Tiny{}.Build(t)
	text := filepath.Join(t.TempDir(), "text")
	programtest.Write(t, text, "no program")
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
			if _, err := program.Read(row.files, program.Jobgate); err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}

func TestCheckContainer(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name    string
		program programtest.Tiny
		err     string // part of it; empty: none
	}{
		{name: "amd64"},
		{name: "arm64", program: programtest.Tiny{Env: []string{"GOARCH=arm64"}}},
		{name: "position-independent", program: programtest.Tiny{Flags: []string{"-trimpath", "-buildmode=pie"}}, err: "linked dynamically"},
		{name: "another system", program: programtest.Tiny{Env: []string{"GOOS=windows"}}, err: "windows/amd64"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			programs, err := program.Read([]string{row.program.Build(t)}, program.Jobgate)
			if err != nil {
				t.Fatal(err)
			}
			err = programs[0].CheckContainer()
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
		})
	}
}
