package main

import (
	"archive/tar"
	"errors"
	"io"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// entry is a file or directory of an image, as its layer has it.
type entry struct {
	name     string // a directory's ends in a slash
	mode     int64
	uid, gid int
	owner    string // names; an image without /etc/passwd has none
	modified time.Time
	link     string
	content  []byte
}

// contents lists the layers' entries, the lowest layer first.
func contents(t *testing.T, image v1.Image) []entry {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var all []entry
	for _, layer := range layers {
		all = append(all, unpack(t, layer)...)
	}
	return all
}

func unpack(t *testing.T, layer v1.Layer) []entry {
	t.Helper()
	stream, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var all []entry
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
		all = append(all, entry{
			name: header.Name, mode: header.Mode, uid: header.Uid, gid: header.Gid, owner: header.Uname + header.Gname,
			modified: header.ModTime, link: header.Linkname, content: content,
		})
	}
}
