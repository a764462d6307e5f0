package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/programtest"
)

const epoch = "1700000000"

// platforms of a release.
func platforms() []program.Platform {
	var all []program.Platform
	for _, system := range []string{"darwin", "linux", "windows"} {
		for _, architecture := range []string{"amd64", "arm64"} {
			all = append(all, program.Platform{OS: system, Architecture: architecture})
		}
	}
	return all
}

// arguments is a command line for programs of all platforms that do nothing, without --output.
func arguments(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"man/man1/jobgate.1", "man/man1/jobgate-serve.1"} {
		programtest.Write(t, filepath.Join(dir, name), ".TH jobgate\n")
	}
	for shell := range shells() {
		programtest.Write(t, filepath.Join(dir, "completions", shell), "# jobgate in "+shell+"\n")
	}
	programtest.Write(t, filepath.Join(dir, "modules.txt"), "licences\n")
	args := []string{
		"--documents", dir, "--third-party-licenses", filepath.Join(dir, "modules.txt"),
		"--license", "../../LICENSE", "--changelog", "../../CHANGELOG.md", "--version", "v1.2.3-rc.1", "--revision", "abc",
	}
	for _, p := range platforms() {
		args = append(args, "--binary", programtest.Tiny{Env: []string{"GOOS=" + p.OS, "GOARCH=" + p.Architecture}}.Build(t))
	}
	return args
}

func TestRun(t *testing.T) {
	t.Parallel()
	args, first, second := arguments(t), filepath.Join(t.TempDir(), "release"), filepath.Join(t.TempDir(), "release")
	for _, output := range []string{first, second} {
		if err := run(append(args, "--output", output), epoch, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	content := readFolder(t, first)
	if !maps.Equal(content, readFolder(t, second)) {
		t.Error("two releases of the same files differ")
	}
	want := []string{
		"SHA256SUMS",
		"jobgate-v1.2.3-rc.1-darwin-amd64.cdx.json",
		"jobgate-v1.2.3-rc.1-darwin-amd64.tar.gz",
		"jobgate-v1.2.3-rc.1-darwin-arm64.cdx.json",
		"jobgate-v1.2.3-rc.1-darwin-arm64.tar.gz",
		"jobgate-v1.2.3-rc.1-linux-amd64.cdx.json",
		"jobgate-v1.2.3-rc.1-linux-amd64.tar.gz",
		"jobgate-v1.2.3-rc.1-linux-arm64.cdx.json",
		"jobgate-v1.2.3-rc.1-linux-arm64.tar.gz",
		"jobgate-v1.2.3-rc.1-windows-amd64.cdx.json",
		"jobgate-v1.2.3-rc.1-windows-amd64.zip",
		"jobgate-v1.2.3-rc.1-windows-arm64.cdx.json",
		"jobgate-v1.2.3-rc.1-windows-arm64.zip",
		"jobgate_1.2.3~rc.1_amd64.deb",
		"jobgate_1.2.3~rc.1_arm64.deb",
		"krew.yaml",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(content))); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
	checkChecksums(t, content)
	for _, p := range platforms() {
		t.Run(p.String(), func(t *testing.T) { checkArchive(t, content, "v1.2.3-rc.1", p) })
	}
}

// checkArchive finds in the archive of a platform what a release has, and in krew's manifest the archive.
func checkArchive(t *testing.T, release map[string]string, version string, p program.Platform) {
	t.Helper()
	name, unpack, binary := fmt.Sprintf("jobgate-%s-%s-%s", version, p.OS, p.Architecture), untar, "jobgate"
	if p.OS == "windows" {
		name, unpack, binary = name+".zip", unzip, "jobgate.exe"
	} else {
		name += ".tar.gz"
	}
	files := unpack(t, release[name])
	want := []string{
		binary, "LICENSE", "THIRD-PARTY-LICENSES.txt", "CHANGELOG.md", "man/man1/jobgate.1", "man/man1/jobgate-serve.1",
		"completions/jobgate.bash", "completions/_jobgate", "completions/jobgate.fish", "completions/jobgate.ps1",
	}
	for _, file := range want {
		if files[file] == "" {
			t.Errorf("%s has no %s, or it is empty", name, file)
		}
	}
	if p.OS != "windows" && files["kubectl-jobgate"] != "-> jobgate" {
		t.Errorf("%s has kubectl-jobgate %q, want a link to jobgate", name, files["kubectl-jobgate"])
	}
	entry := fmt.Sprintf("matchLabels: {os: %s, arch: %s}\n    uri: %s/%s/%s\n    sha256: %x\n    bin: %s\n",
		p.OS, p.Architecture, downloads, version, name, sha256.Sum256([]byte(release[name])), binary)
	if !strings.Contains(release["krew.yaml"], entry) {
		t.Errorf("krew's manifest lacks\n%s", entry)
	}
}

// checkChecksums compares every file with its line.
func checkChecksums(t *testing.T, release map[string]string) {
	t.Helper()
	listed := map[string]string{}
	for line := range strings.Lines(release[checksums]) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		listed[name] = sum
	}
	for name, content := range release {
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(content))); name != checksums && listed[name] != want {
			t.Errorf("%s has the checksum %q for %s, want %s", checksums, listed[name], name, want)
		}
	}
	if len(listed) != len(release)-1 {
		t.Errorf("%s lists %d files of %d", checksums, len(listed), len(release)-1)
	}
}

func TestRun_Refused(t *testing.T) {
	t.Parallel()
	args, output := arguments(t), filepath.Join(t.TempDir(), "release")
	with := func(more ...string) []string { return append(slices.Clone(args), more...) }
	empty := t.TempDir()
	rows := []struct {
		name string
		args []string
		err  string
	}{
		{"no binary", []string{"--output", output}, "are required"},
		{"no output", args, "are required"},
		{"an argument", with("--output", output, "more"), `unexpected argument "more"`},
		{"a build without a version", with("--output", output, "--version", "devel"), `--version is "devel", want a release`},
		{"the latest", with("--output", output, "--version", "latest"), "must not call itself the latest"},
		{"a release of before", with("--output", empty), "file exists"},
		{"no man pages", with("--output", output, "--documents", empty), "man pages"},
		{"no licence", with("--output", output, "--license", filepath.Join(empty, "LICENSE")), "no such file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := run(row.args, epoch, io.Discard); err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
			if _, err := os.Stat(output); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// readFolder maps the names of a folder's files to what is in them.
func readFolder(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(content)
	}
	return all
}

// untar maps the names in an archive to what is in them; a link is "-> TARGET".
func untar(t *testing.T, archive string) map[string]string {
	t.Helper()
	stream, err := gzip.NewReader(strings.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(stream); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[header.Name] = string(content)
		if header.Linkname != "" {
			all[header.Name] = "-> " + header.Linkname
		}
		if program := header.Name == "jobgate"; header.Typeflag == tar.TypeReg && (header.Mode&0o111 != 0) != program {
			t.Errorf("%s has the mode %o", header.Name, header.Mode)
		}
	}
}

func unzip(t *testing.T, archive string) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader([]byte(archive)), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, file := range r.File {
		stream, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		all[file.Name] = string(content)
	}
	return all
}
