// Package program reads finished programs, and says which platform they are for and what they were built from. It reads
// that from the program and is not told, so that a program cannot be published under another's name.
package program

import (
	"bytes"
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"slices"
)

// The packages of the programs that a release has.
const (
	Jobgate = "github.com/jobgate/jobgate/cmd/jobgate"
	Kubectl = "k8s.io/kubernetes/cmd/kubectl"
)

// maxSize bounds a program, in bytes; it is held in memory.
const maxSize = 256 << 20

// Platform is an operating system and a processor, as Go names them.
type Platform struct{ OS, Architecture string }

// String is OS/ARCHITECTURE.
func (p Platform) String() string { return p.OS + "/" + p.Architecture }

// Program is a Go program that may be released.
type Program struct {
	Platform Platform
	Content  []byte
	Build    *buildinfo.BuildInfo
}

// processor is one that a release may be for, with the oldest generation that Go compiles for. A program for newer ones
// would end on the older kind with an illegal instruction.
type processor struct{ name, setting, oldest string }

func processors() []processor {
	return []processor{
		{"amd64", "GOAMD64", "v1"},
		{"arm64", "GOARM64", "v8.0"},
		{"ppc64le", "GOPPC64", "power8"},
		{"s390x", "", ""},
	}
}

// Read reads a program of the given package for each platform, ordered by platform. It refuses two for the same.
func Read(files []string, mainPackage string) ([]Program, error) {
	programs, from := make([]Program, 0, len(files)), map[Platform]string{}
	for _, file := range files {
		p, err := read(file, mainPackage)
		if err != nil {
			return nil, fmt.Errorf("binary %s: %w", file, err)
		}
		if other, twice := from[p.Platform]; twice {
			return nil, fmt.Errorf("binaries %s and %s are both for %s", other, file, p.Platform)
		}
		from[p.Platform] = file
		programs = append(programs, p)
	}
	slices.SortFunc(programs, func(a, b Program) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	return programs, nil
}

// read refuses what `make` does not build: another package, a program with paths of the machine, or one with C.
func read(file, mainPackage string) (Program, error) {
	content, err := ReadBounded(file, maxSize)
	if err != nil {
		return Program{}, err
	}
	build, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return Program{}, fmt.Errorf("is not a Go program: %w", err)
	}
	if build.Path != mainPackage {
		return Program{}, fmt.Errorf("is %s, want %s", build.Path, mainPackage)
	}
	platform, err := checkSettings(build)
	return Program{Platform: platform, Content: content, Build: build}, err
}

func checkSettings(build *buildinfo.BuildInfo) (Platform, error) {
	settings := map[string]string{}
	for _, s := range build.Settings {
		settings[s.Key] = s.Value
	}
	check := func(key, want string) error {
		if got := settings[key]; got != want {
			return fmt.Errorf("was built with %s=%s, want %s: build it with make", key, got, want)
		}
		return nil
	}
	if err := errors.Join(check("CGO_ENABLED", "0"), check("-trimpath", "true")); err != nil {
		return Platform{}, err
	}
	for _, p := range processors() {
		if settings["GOARCH"] == p.name {
			return Platform{OS: settings["GOOS"], Architecture: p.name}, check(p.setting, p.oldest)
		}
	}
	return Platform{}, fmt.Errorf("was built for %s, and Kubernetes supports no such control plane", settings["GOARCH"])
}

// ReadBounded reads a file of at most maxSize bytes.
func ReadBounded(file string, maxSize int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxSize {
		return nil, fmt.Errorf("is %d bytes, more than %d", info.Size(), maxSize)
	}
	return os.ReadFile(file)
}
