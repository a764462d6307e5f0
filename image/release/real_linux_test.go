package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/programtest"
)

// releasePlatforms are those that `make release-files` builds here: that of this machine, or, before a release, all.
func releasePlatforms() string {
	if all := os.Getenv("TEST_RELEASE_PLATFORMS"); all != "" {
		return all
	}
	return "linux/" + runtime.GOARCH
}

// `make release-files` makes the same files in two folders, and the program in them is the release.
func TestMakeRelease(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Fatalf("%v: install the package dpkg", err)
	}
	const settings = `VERSION=v9.8.7 REVISION=abc SOURCE_DATE_EPOCH=1700000000 RELEASE_PLATFORMS="%s" BIN="%s"`
	var made []string
	for _, source := range []string{programtest.CopySource(t, "../.."), "../.."} {
		bin := t.TempDir()
		programtest.Shell(t, source, "make release-files "+fmt.Sprintf(settings, releasePlatforms(), bin))
		made = append(made, filepath.Join(bin, "release"))
	}
	first, second := readFolder(t, made[0]), readFolder(t, made[1])
	for _, name := range slices.Sorted(maps.Keys(first)) {
		if first[name] != second[name] {
			t.Errorf("%s differs between two builds of the same source", name)
		}
	}
	checkChecksums(t, first)
	for platform := range strings.FieldsSeq(releasePlatforms()) {
		system, architecture, _ := strings.Cut(platform, "/")
		checkArchive(t, first, "v9.8.7", program.Platform{OS: system, Architecture: architecture})
	}
	files := untar(t, first["jobgate-v9.8.7-linux-"+runtime.GOARCH+".tar.gz"])
	checkVersion(t, files["jobgate"])
	checkDocuments(t, files)
	checkDebian(t, filepath.Join(made[0], "jobgate_9.8.7_"+runtime.GOARCH+".deb"), files)
}

// checkVersion runs the program.
func checkVersion(t *testing.T, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jobgate")
	if err := os.WriteFile(file, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), file, "version").CombinedOutput()
	if want := fmt.Sprintf("jobgate v9.8.7 %s linux/%s\n", runtime.Version(), runtime.GOARCH); err != nil || string(out) != want {
		t.Errorf("it prints %q, want %q (%v)", out, want, err)
	}
}

// checkDocuments finds the real documents behind the names.
func checkDocuments(t *testing.T, files map[string]string) {
	t.Helper()
	for name, want := range map[string]string{
		"LICENSE":                      "Apache License",
		"THIRD-PARTY-LICENSES.txt":     "github.com/spf13/cobra v",
		"man/man1/jobgate.1":           `jobgate v9.8.7`,
		"man/man1/jobgate-serve.1":     `\fB--config\fP`,
		"completions/jobgate.bash":     "bash completion V2 for jobgate",
		"completions/_jobgate":         "#compdef jobgate",
		"completions/jobgate.fish":     "fish completion for jobgate",
		"completions/jobgate.ps1":      "powershell completion for jobgate",
		"CHANGELOG.md":                 "# Changelog",
		"man/man1/jobgate-certs.1":     "jobgate-certs",
		"man/man1/jobgate-doctor.1":    "jobgate-doctor",
		"man/man1/jobgate-config.1":    "jobgate-config",
		"man/man1/jobgate-explain.1":   "jobgate-explain",
		"man/man1/jobgate-manifests.1": "jobgate-manifests",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %q", name, want)
		}
	}
	if strings.Contains(files["man/man1/jobgate.1"], "reference") {
		t.Error("the man page names a command that a release does not have")
	}
}

// checkDebian reads the package as dpkg does.
func checkDebian(t *testing.T, deb string, archive map[string]string) {
	t.Helper()
	dpkg := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "dpkg-deb", args...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || stderr.Len() > 0 {
			t.Fatalf("%s: %v: %s", cmd, err, stderr.String())
		}
		return string(out)
	}
	fields := dpkg("--showformat=${Package} ${Version} ${Architecture} ${Maintainer}", "--show", deb)
	if want := "jobgate 9.8.7 " + runtime.GOARCH + " " + maintainer; fields != want {
		t.Errorf("the package is %q, want %q", fields, want)
	}
	root := t.TempDir()
	dpkg("--extract", deb, root)
	dpkg("--control", deb, filepath.Join(root, "DEBIAN"))
	program, err := os.ReadFile(filepath.Join(root, "usr/bin/kubectl-jobgate"))
	if err != nil || string(program) != archive["jobgate"] {
		t.Errorf("kubectl-jobgate is not the program of the archive (%v)", err)
	}
	programtest.Shell(t, root, "md5sum --quiet --check DEBIAN/md5sums && gzip --test usr/share/man/man1/jobgate.1.gz "+
		"usr/share/doc/jobgate/changelog.gz && grep -q 'Apache License' usr/share/doc/jobgate/copyright")
	if listing := dpkg("--contents", deb); strings.Count(listing, " root/root ")+strings.Count(listing, " 0/0 ") != strings.Count(listing, "\n") {
		t.Errorf("not all files belong to root:\n%s", listing)
	}
}
