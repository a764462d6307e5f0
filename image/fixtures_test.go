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
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

// epoch is the SOURCE_DATE_EPOCH of the tests.
const epoch = "1700000000"

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
	programtest.Write(t, file, certificatePEM(newCertificate(t)))
	return file
}

// arguments is a command line without outputs, of an image of v1.2.3.
func arguments(t *testing.T, binaries ...string) []string {
	t.Helper()
	modules := filepath.Join(t.TempDir(), "modules.txt")
	programtest.Write(t, modules, modulesText)
	args := []string{"--ca-certificates", bundle(t), "--third-party-licenses", modules, "--version", "v1.2.3", "--revision", "abc"}
	for _, binary := range binaries {
		args = append(args, "--binary", binary)
	}
	return args
}

// modulesText passes for the licences of the modules.
const modulesText = "licences of the modules\n"

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
