package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"maps"
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

	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/programtest"
)

func TestRun_Refused(t *testing.T) {
	t.Parallel()
	binary, kubectl := programtest.Tiny{}.Build(t), programtest.Tiny{Package: program.Kubectl}.Build(t)
	foreign := t.TempDir()
	programtest.Write(t, filepath.Join(foreign, "precious"), "")
	output := filepath.Join(t.TempDir(), "image")
	good := func(more ...string) []string { return append(arguments(t, binary), more...) }
	rows := []struct {
		name string
		args []string
		err  string
	}{
		{"no binary", append(arguments(t), "--output", output), "--binary is missing"},
		{"no version", good("--output", output, "--version", ""), "--version and --revision"},
		{"no licences of modules", good("--output", output, "--third-party-licenses", ""), "--third-party-licenses is missing"},
		{"licences that are not there", good("--output", output, "--third-party-licenses", output), "no such file"},
		{"nothing to write", good(), "nothing to write"},
		{"an argument", good("--output", output, "more"), `unexpected argument "more"`},
		{"an unknown flag", good("--colour"), "colour"},
		{"an archive of two platforms", good("--binary", binary, "--tar", output, "--name", "registry.example/jobgate"), "holds one platform"},
		{"an archive without a name", good("--tar", output), "--tar and --name"},
		{"a name that is none", good("--tar", output, "--name", "Registry/JOBGATE"), "--name Registry/JOBGATE"},
		{"no CA bundle", good("--ca-certificates", output, "--output", output), "ca-certificates"},
		{"a directory of something else", good("--output", foreign), "not an OCI layout"},
		{"kubectl in the place of jobgate", append(arguments(t, kubectl), "--output", output), "is k8s.io/kubernetes/cmd/kubectl, want"},
		{"a CI image without a shell", good("--kubectl", kubectl, "--output", output), "needs all three for each platform"},
		{"a shell that is not there", good("--busybox", output, "--output", output), "no such file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := run(row.args, epoch, io.Discard, io.Discard)
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
	if err := run([]string{"--help"}, "", io.Discard, &stderr); !errors.Is(err, flag.ErrHelp) || !strings.Contains(stderr.String(), "-ca-certificates FILE") {
		t.Errorf("error is %v: %s", err, stderr.String())
	}
}

func TestRun_SameInputSameBytes(t *testing.T) {
	t.Parallel()
	args := arguments(t, programtest.Tiny{}.Build(t))
	var got []map[string]string
	for range 2 {
		sbom := t.TempDir()
		all := files(t, runImage(t, epoch, append(args, "--sbom", sbom)...).dir)
		maps.Copy(all, files(t, sbom))
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
	t.Parallel()
	args := arguments(t, programtest.Tiny{}.Build(t))
	modules := filepath.Join(t.TempDir(), "modules.txt")
	programtest.Write(t, modules, "other licences\n")
	rows := []struct {
		name  string
		args  []string
		epoch string
	}{
		{"the first", args, epoch},
		{"another binary", arguments(t, programtest.Tiny{Says: "other"}.Build(t)), epoch},
		{"another CA bundle", slices.Concat(args, []string{"--ca-certificates", bundle(t)}), epoch},
		{"other licences", slices.Concat(args, []string{"--third-party-licenses", modules}), epoch},
		{"another version", slices.Concat(args, []string{"--version", "v2"}), epoch},
		{"another revision", slices.Concat(args, []string{"--revision", "abd"}), epoch},
		{"another time", args, "1700000001"},
	}
	seen := map[v1.Hash]string{}
	for _, row := range rows {
		a := runImage(t, row.epoch, row.args...)
		if same, ok := seen[a.digest]; ok {
			t.Errorf("%s: the digest is that of %s", row.name, same)
		}
		seen[a.digest] = row.name
	}
}

func TestRun_Platforms(t *testing.T) {
	t.Parallel()
	amd64, arm64 := programtest.Tiny{}.Build(t), programtest.Tiny{Env: []string{"GOARCH=arm64"}}.Build(t)
	args := arguments(t)
	var digests []v1.Hash
	for _, binaries := range [][]string{{amd64, arm64}, {arm64, amd64}} {
		a := runImage(t, epoch, append(args, "--binary", binaries[0], "--binary", binaries[1])...)
		if err := validate.Index(a.index); err != nil {
			t.Error(err)
		}
		for platform, binary := range map[string]string{"linux/amd64": amd64, "linux/arm64": arm64} {
			checkPlatform(t, a.image(t, platform), platform, binary)
		}
		digests = append(digests, a.digest)
	}
	if digests[0] != digests[1] {
		t.Error("the order of --binary decides the digest")
	}
}

func checkPlatform(t *testing.T, image v1.Image, platform, binary string) {
	t.Helper()
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	entries := contents(t, image)
	if last := entries[len(entries)-1]; last.name != "jobgate" || !bytes.Equal(last.content, content) {
		t.Errorf("the image for %s has another program", platform)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.OS + "/" + config.Architecture; got != platform {
		t.Errorf("the configuration for %s says %s", platform, got)
	}
}

func TestRun_ReplacesTheLayoutOfBefore(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "image")
	first, second := programtest.Tiny{Says: "first"}.Build(t), programtest.Tiny{Says: "second"}.Build(t)
	args := append(arguments(t), "--output", dir)
	var kept []map[string]string
	for _, binary := range []string{first, second, first} {
		if err := run(append(args, "--binary", binary), epoch, io.Discard, io.Discard); err != nil {
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
	t.Parallel()
	a := runImage(t, epoch, arguments(t, programtest.Tiny{}.Build(t))...)
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
	t.Parallel()
	file := filepath.Join(t.TempDir(), "jobgate.tar")
	a := runImage(t, epoch, append(arguments(t, programtest.Tiny{}.Build(t)), "--tar", file, "--name", "registry.example/jobgate")...)
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
