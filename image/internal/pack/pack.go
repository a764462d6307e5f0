// Package pack writes tar archives into which nothing of the machine gets: owners, modes, times and order are given.
package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// File is an entry of an archive. Without an owner it belongs to root, so that a program cannot change itself.
type File struct {
	Name    string // without a leading slash; a directory's ends in one
	Mode    int64
	Owner   int // user and group id
	Content []byte
	Link    string // where a symbolic link points; it has no mode and no content
}

// Tar packs the files in their order, each behind the directories above it.
func Tar(w io.Writer, modified time.Time, files []File) error {
	archive, made := tar.NewWriter(w), map[string]bool{}
	for _, f := range files {
		for _, directory := range parents(f.Name) {
			if made[directory] {
				continue
			}
			made[directory] = true
			if err := write(archive, modified, File{Name: directory, Mode: 0o755}); err != nil {
				return err
			}
		}
		made[f.Name] = true
		if err := write(archive, modified, f); err != nil {
			return err
		}
	}
	return archive.Close()
}

// TarGzip is Tar, compressed.
func TarGzip(w io.Writer, modified time.Time, files []File) error {
	compressed := gzip.NewWriter(w)
	if err := Tar(compressed, modified, files); err != nil {
		return err
	}
	return compressed.Close()
}

func write(archive *tar.Writer, modified time.Time, f File) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: f.Name, Mode: f.Mode, Uid: f.Owner, Gid: f.Owner,
		Size: int64(len(f.Content)), ModTime: modified, Format: tar.FormatUSTAR,
	}
	switch {
	case f.Link != "":
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.Link, 0o777
	case strings.HasSuffix(f.Name, "/"):
		header.Typeflag = tar.TypeDir
	}
	if err := archive.WriteHeader(header); err != nil {
		return fmt.Errorf("pack %s: %w", f.Name, err)
	}
	if _, err := io.Copy(archive, bytes.NewReader(f.Content)); err != nil {
		return fmt.Errorf("pack %s: %w", f.Name, err)
	}
	return nil
}

// parents are the directories above a file, the outermost first, each with a slash at its end.
func parents(name string) []string {
	var all []string
	for directory := path.Dir(strings.TrimSuffix(name, "/")); directory != "."; directory = path.Dir(directory) {
		all = append(all, directory+"/")
	}
	slices.Reverse(all)
	return all
}
