package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"

	"github.com/jobgate/jobgate/image/internal/pack"
	"github.com/jobgate/jobgate/image/internal/program"
)

// archive is a written archive, as krew's manifest needs it.
type archive struct {
	platform program.Platform
	file     string
	program  string // its name in the archive
	sum      string // SHA-256, in hexadecimal
}

// writeArchive packs the program and its documents as people of the platform expect: zip for Windows, tar.gz elsewhere.
func (r release) writeArchive(p program.Program) (archive, error) {
	a := archive{platform: p.Platform, file: r.name(p.Platform) + ".tar.gz", program: "jobgate"}
	var buffer bytes.Buffer
	var err error
	if p.Platform.OS == "windows" {
		a.file, a.program = r.name(p.Platform)+".zip", "jobgate.exe"
		files := append([]pack.File{{Name: a.program, Mode: 0o755, Content: p.Content}}, r.documents.files()...)
		err = r.zip(&buffer, files)
	} else {
		files := append([]pack.File{
			{Name: a.program, Mode: 0o755, Content: p.Content},
			{Name: "kubectl-jobgate", Link: a.program}, // kubectl finds a plugin by this name
		}, r.documents.files()...)
		err = pack.TarGzip(&buffer, r.stamp.Created, files)
	}
	if err != nil {
		return a, err
	}
	a.sum = fmt.Sprintf("%x", sha256.Sum256(buffer.Bytes()))
	return a, r.writeFile(a.file, buffer.Bytes())
}

func (r release) zip(buffer *bytes.Buffer, files []pack.File) error {
	w := zip.NewWriter(buffer)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: r.stamp.Created}
		header.SetMode(fs.FileMode(f.Mode & 0o777))
		entry, err := w.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("pack %s: %w", f.Name, err)
		}
		if _, err := entry.Write(f.Content); err != nil {
			return fmt.Errorf("pack %s: %w", f.Name, err)
		}
	}
	return w.Close()
}
