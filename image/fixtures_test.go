package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// epoch is the SOURCE_DATE_EPOCH of the tests.
const epoch = "1700000000"

// tiny is a program that does next to nothing and passes for jobgate, so that a build of it takes no time.
type tiny struct {
	mainPackage string   // its directory in the module; cmd/jobgate when empty
	says        string   // makes two of them differ
	flags       []string // of go build; -trimpath when nil
	env         []string // over CGO_ENABLED=0 GOOS=linux GOARCH=amd64 GOAMD64=v1
}

func (p tiny) build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if p.mainPackage == "" {
		p.mainPackage = "cmd/jobgate"
	}
	if p.flags == nil {
		p.flags = []string{"-trimpath"}
	}
	write(t, filepath.Join(dir, "go.mod"), "module github.com/jobgate/jobgate\n\ngo 1.26.0\n")
	write(t, filepath.Join(dir, p.mainPackage, "main.go"), "package main\n\nfunc main() { println(\""+p.says+"\") }\n")
	binary := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build", "-o", binary}, p.flags...), "./"+p.mainPackage)...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOFLAGS=-buildvcs=false", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1"), p.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return binary
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// newCertificate is for a server on loopback, and is its own CA.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: rand.Text()},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(time.Hour),
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:        true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key}
}

// certificatePEM is the certificate alone.
func certificatePEM(c tls.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}))
}

// keyPEM is the private key alone.
func keyPEM(t *testing.T, c tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// bundle is a file with one CA.
func bundle(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	write(t, file, certificatePEM(newCertificate(t)))
	return file
}

// assembled is what a run of the command made.
type assembled struct {
	dir    string // the layout
	digest v1.Hash
	index  v1.ImageIndex
	stdout string
}

// runImage runs the command line and reads the layout back.
func runImage(t *testing.T, epoch string, args ...string) assembled {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	var stdout bytes.Buffer
	if err := run(append([]string{"--output", dir}, args...), epoch, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	outer, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the layout has %d entries, want one index", len(manifest.Manifests))
	}
	digest := manifest.Manifests[0].Digest
	index, err := outer.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.String() + " index\n"; !strings.HasPrefix(stdout.String(), want) {
		t.Errorf("the report begins %q, want %q", stdout.String(), want)
	}
	return assembled{dir: dir, digest: digest, index: index, stdout: stdout.String()}
}

// image is the one for a platform such as linux/amd64.
func (a assembled) image(t *testing.T, platform string) v1.Image {
	t.Helper()
	manifest, err := a.index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		if d.Platform != nil && d.Platform.String() == platform {
			image, err := a.index.Image(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			return image
		}
	}
	t.Fatalf("the index has no image for %s: %+v", platform, manifest.Manifests)
	return nil
}
