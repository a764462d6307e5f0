package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file is a file of the image. It and the directories above it belong to root, so the program cannot change itself.
type file struct {
	name    string // without a leading slash
	mode    int64
	content []byte
}

// newLayer packs a file and the directories above it. Nothing of the machine gets in: owner, mode and time are given.
func newLayer(modified time.Time, f file) (v1.Layer, error) {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	var headers []*tar.Header
	for _, directory := range parents(f.name) {
		headers = append(headers, &tar.Header{Typeflag: tar.TypeDir, Name: directory + "/", Mode: 0o755})
	}
	headers = append(headers, &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))})
	for _, header := range headers {
		header.ModTime, header.Format = modified, tar.FormatUSTAR
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("pack %s: %w", header.Name, err)
		}
	}
	if _, err := w.Write(f.content); err != nil {
		return nil, fmt.Errorf("pack %s: %w", f.name, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack %s: %w", f.name, err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

// parents are the directories above a file, the outermost first.
func parents(name string) []string {
	var all []string
	for directory := path.Dir(name); directory != "."; directory = path.Dir(directory) {
		all = append(all, directory)
	}
	slices.Reverse(all)
	return all
}
