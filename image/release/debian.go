package main

import (
	"bytes"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // dpkg's own format of checksums against damage on disk; apt's signatures do not rest on it.
	"fmt"
	"io"
	"strings"

	"github.com/jobgate/jobgate/image/internal/pack"
	"github.com/jobgate/jobgate/image/internal/program"
)

// maintainer has the form that Debian requires.
const maintainer = "The jobgate authors <jobgate@users.noreply.github.com>"

// writeDebian packs a Debian package, which deb(5) describes: an ar archive with a version, the control files and the data.
func (r release) writeDebian(p program.Program) error {
	files, err := r.debianFiles(p)
	if err != nil {
		return err
	}
	var control, data, deb bytes.Buffer
	if err := pack.TarGzip(&control, r.stamp.Created, r.controlFiles(p, files)); err != nil {
		return err
	}
	if err := pack.TarGzip(&data, r.stamp.Created, files); err != nil {
		return err
	}
	deb.WriteString("!<arch>\n")
	for _, member := range []pack.File{
		{Name: "debian-binary", Content: []byte("2.0\n")},
		{Name: "control.tar.gz", Content: control.Bytes()},
		{Name: "data.tar.gz", Content: data.Bytes()},
	} {
		fmt.Fprintf(&deb, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", member.Name, r.stamp.Created.Unix(), 0, 0, 0o100644, len(member.Content))
		deb.Write(member.Content)
		if len(member.Content)%2 == 1 {
			deb.WriteByte('\n')
		}
	}
	return r.writeFile(fmt.Sprintf("jobgate_%s_%s.deb", r.debianVersion(), debianArchitecture(p.Platform)), deb.Bytes())
}

// debianVersion sorts a release candidate before its release.
func (r release) debianVersion() string {
	return strings.Replace(strings.TrimPrefix(r.stamp.Version, "v"), "-", "~", 1)
}

func debianArchitecture(p program.Platform) string {
	if p.Architecture == "ppc64le" {
		return "ppc64el"
	}
	return p.Architecture
}

// debianFiles are where Debian's policy wants them. jobgate init writes the systemd unit, which depends on the cluster.
func (r release) debianFiles(p program.Program) ([]pack.File, error) {
	d, docs := r.documents, "usr/share/doc/jobgate/"
	changelog, err := compress(d.changelog)
	if err != nil {
		return nil, err
	}
	files := []pack.File{
		{Name: "usr/bin/jobgate", Mode: 0o755, Content: p.Content},
		{Name: "usr/bin/kubectl-jobgate", Link: "jobgate"},
		{Name: "usr/share/bash-completion/completions/jobgate", Mode: 0o644, Content: d.completions["bash"]},
		{Name: "usr/share/fish/vendor_completions.d/jobgate.fish", Mode: 0o644, Content: d.completions["fish"]},
		{Name: "usr/share/zsh/vendor-completions/_jobgate", Mode: 0o644, Content: d.completions["zsh"]},
		{Name: docs + "THIRD-PARTY-LICENSES.txt", Mode: 0o644, Content: d.modules},
		{Name: docs + "changelog.gz", Mode: 0o644, Content: changelog},
		{Name: docs + "copyright", Mode: 0o644, Content: d.license},
	}
	for _, manual := range d.manuals {
		content, err := compress(manual.Content)
		if err != nil {
			return nil, err
		}
		files = append(files, pack.File{Name: "usr/share/man/man1/" + manual.Name + ".gz", Mode: 0o644, Content: content})
	}
	return files, nil
}

func (r release) controlFiles(p program.Program, files []pack.File) []pack.File {
	var sums strings.Builder
	size := 0
	for _, f := range files {
		size += (len(f.Content) + 1023) / 1024
		if f.Link == "" {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(f.Content), f.Name) //nolint:gosec // see the import
		}
	}
	control := strings.Join([]string{
		"Package: jobgate",
		"Version: " + r.debianVersion(),
		"Architecture: " + debianArchitecture(p.Platform),
		"Maintainer: " + maintainer,
		fmt.Sprintf("Installed-Size: %d", size),
		"Recommends: ca-certificates",
		"Section: admin",
		"Priority: optional",
		"Homepage: https://github.com/jobgate/jobgate",
		"Description: lets GitLab CI jobs log in to a Kubernetes API server",
		" jobgate answers kube-apiserver's authentication and authorization webhooks for",
		" GitLab CI jobs. It identifies jobs and denies; it never grants anything.",
		" In a CI job it writes the job's kubeconfig and finds what keeps it from working.",
		"",
	}, "\n")
	return []pack.File{
		{Name: "control", Mode: 0o644, Content: []byte(control)},
		{Name: "md5sums", Mode: 0o644, Content: []byte(sums.String())},
	}
}

// compress is gzip without a name and a time.
func compress(content []byte) ([]byte, error) {
	var buffer bytes.Buffer
	w, err := gzip.NewWriterLevel(&buffer, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}
