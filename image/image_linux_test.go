package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

// maxImage bounds what a node pulls, in bytes: half as much again as it was when this was written.
const maxImage = 16 << 20

// shipped is the image of the program itself.
type shipped struct {
	assembled
	image  v1.Image
	file   string // the binary
	binary []byte
	bundle string          // its CA bundle
	gitlab tls.Certificate // in the bundle
	sbom   []byte
}

func newShipped(t *testing.T) shipped {
	t.Helper()
	out := filepath.Join(t.TempDir(), "jobgate")
	programtest.Shell(t, programtest.CopySource(t, ".."), "make build VERSION=v9.8.7 BINARY="+out)
	binary, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	gitlab := newCertificate(t)
	bundle, certificates := certificatePEM(newCertificate(t))+certificatePEM(gitlab), filepath.Join(t.TempDir(), "ca.crt")
	programtest.Write(t, certificates, bundle)
	sboms := t.TempDir()
	a := runImage(t, epoch, append(arguments(t, out), "--ca-certificates", certificates, "--version", "v9.8.7", "--sbom", sboms)...)
	sbom, err := os.ReadFile(filepath.Join(sboms, "jobgate-linux-"+runtime.GOARCH+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	return shipped{
		assembled: a, image: a.image(t, "linux/"+runtime.GOARCH), file: out, binary: binary, bundle: bundle, gitlab: gitlab, sbom: sbom,
	}
}

func TestImage(t *testing.T) {
	s := newShipped(t)
	t.Run("is valid", s.testValid)
	t.Run("says how it is run", s.testConfig)
	t.Run("has the program, the CAs, the licences and nothing else", s.testContents)
	t.Run("is small", s.testSize)
	t.Run("its binary does not depend on where it was built", s.testBinary)
	t.Run("its bill of materials is complete", s.testBOM)
	c := newContainer(t, s.image)
	before := tree(t, c.root)
	t.Run("prints its version", c.testVersion)
	t.Run("reports a configuration that is missing", c.testMissingConfiguration)
	if diff := cmp.Diff(before, tree(t, c.root)); diff != "" {
		t.Errorf("the program wrote into its image (-before +after):\n%s", diff)
	}
	t.Run("verifies GitLab by its CA bundle", func(t *testing.T) { c.testTrust(t, s.gitlab) })
	t.Run("serves", c.testServe)
	t.Run("in the image of CI jobs", func(t *testing.T) { testCI(t, s) })
}

func (s shipped) testValid(t *testing.T) {
	if err := validate.Index(s.index); err != nil {
		t.Error(err)
	}
	manifest, err := s.image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	got := []types.MediaType{manifest.MediaType, manifest.Config.MediaType}
	for _, layer := range manifest.Layers {
		got = append(got, layer.MediaType)
	}
	want := []types.MediaType{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer, types.OCILayer}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("media types (-want +got):\n%s", diff)
	}
}

func (s shipped) testConfig(t *testing.T) {
	file, err := s.image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		User:         "65532:65532",
		Env:          []string{"PATH=/"},
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "9444/tcp": {}},
		Entrypoint:   []string{"/jobgate"},
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
		Labels:       file.Config.Labels,
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	labels := slices.Sorted(maps.Keys(file.Config.Labels))
	for i, name := range []string{"description", "licenses", "revision", "source", "title", "version"} {
		if want := "org.opencontainers.image." + name; i >= len(labels) || labels[i] != want {
			t.Fatalf("labels are %q, want %s among them", labels, want)
		}
	}
	if got := file.Config.Labels["org.opencontainers.image.version"]; got != "v9.8.7" {
		t.Errorf("the label of the version is %q", got)
	}
	if got := file.Config.Labels["org.opencontainers.image.revision"]; got != "abc" {
		t.Errorf("the label of the revision is %q", got)
	}
	if file.OS != "linux" || file.Architecture != runtime.GOARCH || !file.Created.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("made for %s/%s at %s", file.OS, file.Architecture, file.Created)
	}
}

func (s shipped) testContents(t *testing.T) {
	license, err := os.ReadFile("../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	modified := time.Unix(1700000000, 0)
	want := []entry{
		{name: "etc/", mode: 0o755, modified: modified, content: []byte{}},
		{name: "etc/ssl/", mode: 0o755, modified: modified, content: []byte{}},
		{name: "etc/ssl/certs/", mode: 0o755, modified: modified, content: []byte{}},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, modified: modified, content: []byte(s.bundle)},
		{name: "licenses/", mode: 0o755, modified: modified, content: []byte{}},
		{name: "licenses/LICENSE", mode: 0o644, modified: modified, content: license},
		{name: "licenses/THIRD-PARTY-LICENSES.txt", mode: 0o644, modified: modified, content: []byte(modulesText)},
		{name: "jobgate", mode: 0o755, modified: modified, content: s.binary},
	}
	same := func(a, b entry) bool {
		equal := bytes.Equal(a.content, b.content)
		a.content, b.content = nil, nil
		return equal && cmp.Equal(a, b, cmp.AllowUnexported(entry{}))
	}
	got := contents(t, s.image)
	if !slices.EqualFunc(want, got, same) {
		for _, e := range got {
			t.Errorf("%s: mode %o, owner %d:%d %q, modified %s, link %q, %d bytes", e.name, e.mode, e.uid, e.gid, e.owner, e.modified, e.link, len(e.content))
		}
	}
}

func (s shipped) testSize(t *testing.T) {
	manifest, err := s.image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, layer := range manifest.Layers {
		size += layer.Size
	}
	if size < int64(len(s.binary))/10 || size > maxImage {
		t.Errorf("a node pulls %d bytes, want at most %d", size, maxImage)
	}
}

// A build in the tree itself, where history, tests and other modules lie about, gives the same bytes.
func (s shipped) testBinary(t *testing.T) {
	out := filepath.Join(t.TempDir(), "jobgate")
	programtest.Shell(t, "..", "make build VERSION=v9.8.7 BINARY="+out)
	again, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again, s.binary) {
		return
	}
	same := 0
	for same < min(len(again), len(s.binary)) && again[same] == s.binary[same] {
		same++
	}
	t.Errorf("two builds from the same source, in two directories, differ: of %d and %d bytes, the first %d are the same",
		len(s.binary), len(again), same)
}

// What the go command compiles is what the binary's bill of materials lists, and nothing else.
func (s shipped) testBOM(t *testing.T) {
	var bom struct {
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(s.sbom, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Component.Version != "v9.8.7" {
		t.Errorf("it is of version %q", bom.Metadata.Component.Version)
	}
	listed := map[string]string{}
	for _, c := range bom.Components {
		listed[c.Name] = c.Version
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{with .Module}}{{if not .Main}}{{or .Replace .}}{{end}}{{end}}", "./cmd/jobgate")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	compiled := map[string]string{"stdlib": strings.TrimPrefix(runtime.Version(), "go")}
	for line := range strings.Lines(string(out)) {
		if module, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			compiled[module] = version
		}
	}
	if diff := cmp.Diff(compiled, listed); diff != "" || len(compiled) < 10 {
		t.Errorf("%d modules (-compiled +listed):\n%s", len(compiled), diff)
	}
}

// tree lists every file below root with its size.
func tree(t *testing.T, root string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			all[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
