package pack_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/image/internal/pack"
)

func TestTar(t *testing.T) {
	modified := time.Unix(1700000000, 0)
	var buffer bytes.Buffer
	err := pack.Tar(&buffer, modified, []pack.File{
		{Name: "etc/ssl/ca.crt", Mode: 0o644, Content: []byte("ca")},
		{Name: "etc/passwd", Mode: 0o600, Owner: 7},
		{Name: "bin/sh", Link: "busybox"},
		{Name: "tmp/", Mode: 0o1777},
		{Name: "tmp/file", Mode: 0o600},
	})
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		Name, Link, Content string
		Type                byte
		Mode                int64
		UID, GID            int
	}
	want := []entry{
		{Name: "etc/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "etc/ssl/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "etc/ssl/ca.crt", Type: tar.TypeReg, Mode: 0o644, Content: "ca"},
		{Name: "etc/passwd", Type: tar.TypeReg, Mode: 0o600, UID: 7, GID: 7},
		{Name: "bin/", Type: tar.TypeDir, Mode: 0o755},
		{Name: "bin/sh", Type: tar.TypeSymlink, Mode: 0o777, Link: "busybox"},
		{Name: "tmp/", Type: tar.TypeDir, Mode: 0o1777},
		{Name: "tmp/file", Type: tar.TypeReg, Mode: 0o600},
	}
	var got []entry
	for r := tar.NewReader(&buffer); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(modified) || header.Uname+header.Gname != "" {
			t.Errorf("%s: modified %s, owner %q", header.Name, header.ModTime, header.Uname+header.Gname)
		}
		got = append(got, entry{
			Name: header.Name, Link: header.Linkname, Content: string(content), Type: header.Typeflag,
			Mode: header.Mode, UID: header.Uid, GID: header.Gid,
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}
