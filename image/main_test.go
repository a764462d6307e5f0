package main

import (
	"bytes"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestRun_Refused(t *testing.T) {
	binary, ca := tiny{}.build(t), bundle(t)
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "precious"), "")
	good := func(more ...string) []string {
		return append([]string{"--binary", binary, "--ca-certificates", ca, "--version", "v1", "--revision", "abc"}, more...)
	}
	output := filepath.Join(t.TempDir(), "image")
	rows := []struct {
		name  string
		args  []string
		epoch string
		err   string
	}{
		{"no binary", []string{"--version", "v1", "--revision", "abc", "--output", output}, epoch, "--binary is missing"},
		{"no version", []string{"--binary", binary, "--revision", "abc", "--output", output}, epoch, "--version and --revision"},
		{"no revision", []string{"--binary", binary, "--version", "v1", "--output", output}, epoch, "--version and --revision"},
		{"nothing to write", good(), epoch, "nothing to write"},
		{"an argument", good("--output", output, "more"), epoch, `unexpected argument "more"`},
		{"an unknown flag", good("--colour"), epoch, "colour"},
		{"a version that is no tag", good("--version", "v1+2", "--output", output), epoch, `--version is "v1+2"`},
		{"an archive of two platforms", good("--binary", binary, "--tar", output, "--name", "registry.example/jobgate"), epoch, "holds one platform"},
		{"an archive without a name", good("--tar", output), epoch, "--tar and --name"},
		{"a name that is none", good("--tar", output, "--name", "Registry/JOBGATE"), epoch, "--name Registry/JOBGATE"},
		{"no CA bundle", good("--ca-certificates", output, "--output", output), epoch, "ca-certificates"},
		{"no time", good("--output", output), "", "SOURCE_DATE_EPOCH"},
		{"a time before 1970", good("--output", output), "-1", "SOURCE_DATE_EPOCH"},
		{"a time in words", good("--output", output), "yesterday", "SOURCE_DATE_EPOCH"},
		{"a directory of something else", good("--output", foreign), epoch, "not an OCI layout"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := run(row.args, row.epoch, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error is %v, want %q", err, row.err)
			}
			if _, err := os.Stat(output); err == nil {
				t.Error("something was written")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(foreign, "precious")); err != nil {
		t.Error(err)
	}
}

func TestRun_Help(t *testing.T) {
	var stderr bytes.Buffer
	if err := run([]string{"--help"}, "", io.Discard, &stderr); err != flag.ErrHelp || !strings.Contains(stderr.String(), "-ca-certificates FILE") {
		t.Errorf("error is %v: %s", err, stderr.String())
	}
}

func TestRun_SameInputSameBytes(t *testing.T) {
	binary, ca, sboms := tiny{}.build(t), bundle(t), []string{t.TempDir(), t.TempDir()}
	var got []map[string]string
	for _, sbom := range sboms {
		a := runImage(t, epoch, "--binary", binary, "--ca-certificates", ca, "--version", "v1", "--revision", "abc", "--sbom", sbom)
		all := files(t, a.dir)
		for name, content := range files(t, sbom) {
			all[name] = content
		}
		got = append(got, all)
	}
	if diff := cmp.Diff(got[0], got[1]); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
	if len(got[0]) != 8 { // oci-layout, index.json, index, manifest, config, two layers, bill of materials
		t.Errorf("%d files were written", len(got[0]))
	}
}

func TestRun_OtherInputOtherDigest(t *testing.T) {
	binary, ca := tiny{}.build(t), bundle(t)
	other := filepath.Join(t.TempDir(), "ca.crt")
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	write(t, other, "# other\n"+string(text))
	rows := []struct{ name, binary, ca, version, revision, epoch string }{
		{"the first", binary, ca, "v1", "abc", epoch},
		{"another binary", tiny{says: "other"}.build(t), ca, "v1", "abc", epoch},
		{"another CA bundle", binary, other, "v1", "abc", epoch},
		{"another version", binary, ca, "v2", "abc", epoch},
		{"another revision", binary, ca, "v1", "abd", epoch},
		{"another time", binary, ca, "v1", "abc", "1700000001"},
	}
	seen := map[v1.Hash]string{}
	for _, row := range rows {
		a := runImage(t, row.epoch, "--binary", row.binary, "--ca-certificates", row.ca, "--version", row.version, "--revision", row.revision)
		if same, ok := seen[a.digest]; ok {
			t.Errorf("%s: the digest is that of %s", row.name, same)
		}
		seen[a.digest] = row.name
	}
}

func TestRun_Platforms(t *testing.T) {
	amd64, arm64, ca := tiny{}.build(t), tiny{env: []string{"GOARCH=arm64"}}.build(t), bundle(t)
	var digests []v1.Hash
	for _, binaries := range [][]string{{amd64, arm64}, {arm64, amd64}} {
		a := runImage(t, epoch, "--binary", binaries[0], "--binary", binaries[1], "--ca-certificates", ca, "--version", "v1", "--revision", "abc")
		if err := validate.Index(a.index); err != nil {
			t.Error(err)
		}
		for platform, binary := range map[string]string{"linux/amd64": amd64, "linux/arm64": arm64} {
			content, err := os.ReadFile(binary)
			if err != nil {
				t.Fatal(err)
			}
			entries := contents(t, a.image(t, platform))
			if last := entries[len(entries)-1]; last.name != "jobgate" || !bytes.Equal(last.content, content) {
				t.Errorf("the image for %s has another program", platform)
			}
			config, err := a.image(t, platform).ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if got := config.OS + "/" + config.Architecture; got != platform {
				t.Errorf("the configuration for %s says %s", platform, got)
			}
		}
		digests = append(digests, a.digest)
	}
	if digests[0] != digests[1] {
		t.Error("the order of --binary decides the digest")
	}
}

func TestRun_ReplacesTheLayoutOfBefore(t *testing.T) {
	ca, dir := bundle(t), filepath.Join(t.TempDir(), "image")
	var kept []map[string]string
	for _, says := range []string{"first", "second", "first"} {
		args := []string{"--output", dir, "--binary", tiny{says: says}.build(t), "--ca-certificates", ca, "--version", "v1", "--revision", "abc"}
		if err := run(args, epoch, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, files(t, dir))
	}
	if diff := cmp.Diff(kept[0], kept[2]); diff != "" {
		t.Errorf("a layout keeps something of the one before:\n%s", diff)
	}
	siblings, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if len(siblings) != 1 {
		t.Errorf("something is left beside the layout: %v", siblings)
	}
}

func TestRun_LayoutNamesTheVersion(t *testing.T) {
	a := runImage(t, epoch, "--binary", tiny{}.build(t), "--ca-certificates", bundle(t), "--version", "v1.2.3", "--revision", "abc")
	outer, err := layout.ImageIndexFromPath(a.dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; got != "v1.2.3" {
		t.Errorf("the layout's reference is %q", got)
	}
}

func TestRun_ArchiveHoldsTheSameImage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "jobgate.tar")
	a := runImage(t, epoch, "--binary", tiny{}.build(t), "--ca-certificates", bundle(t), "--version", "v1.2.3", "--revision", "abc",
		"--tar", file, "--name", "registry.example/jobgate")
	tag, err := name.NewTag("registry.example/jobgate:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	archived, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(archived); err != nil {
		t.Error(err)
	}
	want, err := a.image(t, "linux/amd64").ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	// What an engine calls the image's id: it covers the configuration and, by their digests, the layers.
	if got, err := archived.ConfigName(); err != nil || got != want {
		t.Errorf("the archive's image id is %s, want %s (%v)", got, want, err)
	}
}

// files maps the name of every file under dir to what it contains.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestParents(t *testing.T) {
	rows := []struct {
		name string
		want []string
	}{
		{"jobgate", nil},
		{"etc/ssl/certs/ca-certificates.crt", []string{"etc", "etc/ssl", "etc/ssl/certs"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := parents(row.name); !slices.Equal(got, row.want) {
				t.Errorf("parents are %q, want %q", got, row.want)
			}
		})
	}
}
