package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

// What docs/release.md publishes with: the layout goes to a registry as one index, and each platform finds its image.
func TestPush(t *testing.T) {
	t.Parallel()
	a := runImage(t, epoch, arguments(t, programtest.Tiny{}.Build(t), programtest.Tiny{Env: []string{"GOARCH=arm64"}}.Build(t))...)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://") + "/jobgate/jobgate:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	crane := exec.CommandContext(t.Context(), "go", "tool", "crane", "push", a.dir, tag.String())
	crane.Stdout, crane.Stderr = &stdout, &stderr
	if err := crane.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", crane, err, stderr.String())
	}
	if got, want := strings.TrimSpace(stdout.String()), tag.Context().Digest(a.digest.String()).String(); got != want {
		t.Errorf("crane says %s, want %s", got, want)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	if got, err := index.Digest(); err != nil || got != a.digest {
		t.Errorf("the registry has %s, want %s (%v)", got, a.digest, err)
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		pulled, err := remote.Image(tag, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}))
		if err != nil {
			t.Fatal(err)
		}
		want, err := a.image(t, "linux/"+architecture).Digest()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := pulled.Digest(); err != nil || got != want {
			t.Errorf("%s pulls %s, want %s (%v)", architecture, got, want, err)
		}
	}
}
