package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mainPackage is the only program that the image is for.
const mainPackage = "github.com/jobgate/jobgate/cmd/jobgate"

// maxProgram bounds a binary, in bytes; it is held in memory.
const maxProgram = 256 << 20

// architecture is one that Kubernetes publishes control planes for, with the oldest processors that Go compiles for. A
// binary for newer ones would end on a node of the older kind with an illegal instruction.
type architecture struct{ name, setting, oldest string }

func architectures() []architecture {
	return []architecture{
		{"amd64", "GOAMD64", "v1"},
		{"arm64", "GOARM64", "v8.0"},
		{"ppc64le", "GOPPC64", "power8"},
		{"s390x", "", ""},
	}
}

// program is a binary that may go into an image.
type program struct {
	platform v1.Platform
	content  []byte
	build    *buildinfo.BuildInfo
}

// readPrograms reads a binary for each platform, and refuses two for the same.
func readPrograms(files []string) ([]program, error) {
	var programs []program
	from := map[string]string{}
	for _, file := range files {
		p, err := readProgram(file)
		if err != nil {
			return nil, fmt.Errorf("binary %s: %w", file, err)
		}
		if other := from[p.platform.String()]; other != "" {
			return nil, fmt.Errorf("binaries %s and %s are both for %s", other, file, p.platform)
		}
		from[p.platform.String()] = file
		programs = append(programs, p)
	}
	return programs, nil
}

// readProgram refuses whatever would not run in an image without a C library, and whatever `make build` does not build.
func readProgram(file string) (program, error) {
	info, err := os.Stat(file)
	if err != nil {
		return program{}, err
	}
	if info.Size() > maxProgram {
		return program{}, fmt.Errorf("is %d bytes, more than %d", info.Size(), maxProgram)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return program{}, err
	}
	build, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return program{}, fmt.Errorf("is not a Go program: %w", err)
	}
	p := program{content: content, build: build}
	if p.platform, err = checkBuild(build); err != nil {
		return program{}, err
	}
	return p, checkStatic(content)
}

// checkBuild reads the platform, rather than being told, so that a binary cannot be published under another's name.
func checkBuild(build *buildinfo.BuildInfo) (v1.Platform, error) {
	if build.Path != mainPackage {
		return v1.Platform{}, fmt.Errorf("is %s, want %s", build.Path, mainPackage)
	}
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	for _, want := range []struct{ key, value string }{{"GOOS", "linux"}, {"CGO_ENABLED", "0"}, {"-trimpath", "true"}} {
		if err := checkSetting(settings, want.key, want.value); err != nil {
			return v1.Platform{}, err
		}
	}
	for _, a := range architectures() {
		if settings["GOARCH"] == a.name {
			return v1.Platform{OS: "linux", Architecture: a.name}, checkSetting(settings, a.setting, a.oldest)
		}
	}
	return v1.Platform{}, fmt.Errorf("was built for %s, and Kubernetes has no control plane for it", settings["GOARCH"])
}

func checkSetting(settings map[string]string, key, want string) error {
	if got := settings[key]; got != want {
		return fmt.Errorf("was built with %s=%s, want %s: build it with `make build`", key, got, want)
	}
	return nil
}

// checkStatic finds what CGO_ENABLED=0 does not rule out: a position-independent build asks for a dynamic loader.
func checkStatic(content []byte) error {
	file, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("is not an ELF program: %w", err)
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			return errors.New("is linked dynamically, and the image has no loader: build it with `make build`")
		}
	}
	return nil
}
