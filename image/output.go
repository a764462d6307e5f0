package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/jobgate/jobgate/image/internal/stamp"
)

// refName is how tools find an image in a layout by its tag:
// https://github.com/opencontainers/image-spec/blob/main/annotations.md
const refName = "org.opencontainers.image.ref.name"

// writeLayout replaces the OCI layout in dir by one with the index alone. It is made aside and renamed, so that what lies
// in dir is never half an image, and never has blobs of an earlier one.
func writeLayout(dir string, s stamp.Stamp, index v1.ImageIndex) error {
	if err := mayReplace(dir); err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	aside, err := os.MkdirTemp(parent, ".image-")
	if err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	defer os.RemoveAll(aside)
	// MkdirTemp's 0700 would keep a layout built by root from everyone else.
	if err := os.Chmod(aside, 0o755); err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	blobs, err := layout.Write(aside, empty.Index)
	if err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	if err := blobs.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: s.Version})); err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the OCI layout of before: %w", err)
	}
	if err := os.Rename(aside, dir); err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	return nil
}

// mayReplace refuses to remove a directory that is something other than an OCI layout.
func mayReplace(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into --output: %w", err)
	}
	for _, entry := range entries {
		if entry.Name() == "oci-layout" {
			return nil
		}
	}
	return fmt.Errorf("--output %s has files that are not an OCI layout: name a new directory", dir)
}

// writeArchive writes what `docker load` and `ctr images import` read, for a node that no registry reaches.
func writeArchive(file, repository string, s stamp.Stamp, image v1.Image) error {
	tag, err := name.NewTag(repository+":"+s.Version, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("--name %s: %w", repository, err)
	}
	if err := tarball.WriteToFile(file, tag, image); err != nil {
		return fmt.Errorf("write the docker archive %s: %w", file, err)
	}
	return nil
}
