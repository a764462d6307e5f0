package main

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/jobgate/jobgate/image/internal/bom"
	"github.com/jobgate/jobgate/image/internal/pack"
	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/stamp"
)

// busybox is the shell of the CI image: Debian's package busybox-static for one platform, as hack/busybox leaves it in a
// folder.
type busybox struct {
	platform  program.Platform
	content   []byte
	version   string // of Debian's package
	copyright []byte
}

// maxBusybox bounds each file of it, in bytes; the program has about 2 MB.
const maxBusybox = 16 << 20

func readBusybox(dir string) (busybox, error) {
	content := map[string][]byte{}
	for _, name := range []string{"busybox", "version", "copyright"} {
		var err error
		if content[name], err = program.ReadBounded(filepath.Join(dir, name), maxBusybox); err != nil {
			return busybox{}, fmt.Errorf("--busybox %s: %w", dir, err)
		}
	}
	platform, err := program.Static(content["busybox"])
	if err != nil {
		return busybox{}, fmt.Errorf("--busybox %s: %w", dir, err)
	}
	version := strings.TrimSpace(string(content["version"]))
	if version == "" || strings.ContainsAny(version, " \n") {
		return busybox{}, fmt.Errorf("--busybox %s: version is %q, want that of the package", dir, version)
	}
	return busybox{platform: platform, content: content["busybox"], version: version, copyright: content["copyright"]}, nil
}

// component is what the bill of materials says about it.
func (b busybox) component() bom.Package {
	url := "pkg:deb/debian/busybox-static@" + strings.ReplaceAll(b.version, "+", "%2B") + "?arch=" + b.platform.Architecture
	return bom.Package{Name: "busybox-static", Version: b.version, URL: url}
}

// applets are the commands of busybox that the CI image has: those of scripts. Without a package manager, daemons and
// tools that need root, a job has what it needs and little more.
func applets() []string {
	return strings.Fields(`
		[ ash awk base64 basename cat chmod cmp cp cut date dd df diff dirname du echo egrep env expr false fgrep find fold
		grep gunzip gzip head hexdump hostname id kill less ln ls md5sum mkdir mktemp more mv nproc od paste patch printf ps pwd
		readlink realpath rev rm rmdir sed seq sh sha1sum sha256sum sha512sum shuf sleep sort stat strings stty sync tac
		tail tar tee test time timeout touch tr true tty uname unexpand uniq unxz unzip vi wc wget which xargs xz xzcat yes zcat`)
}

// Where things are in the CI image.
const (
	shellFolder   = "bin"
	programFolder = "usr/local/bin"
	homeFolder    = "home/job/"
)

// ciRecipe is the image of a CI job: a shell, kubectl and jobgate.
func ciRecipe(s stamp.Stamp, in inputs) recipe {
	r := recipe{common: in.common(), layers: map[program.Platform][][]pack.File{}}
	r.common = append(r.common,
		pack.File{Name: homeFolder, Mode: 0o700, Owner: user},
		pack.File{Name: "tmp/", Mode: 0o1777},
	)
	for i, p := range in.jobgate {
		r.layers[p.Platform] = [][]pack.File{
			shellFiles(in.busybox[i]),
			{{Name: path.Join(programFolder, "kubectl"), Mode: 0o755, Content: in.kubectl[i].Content}},
			{
				{Name: path.Join(programFolder, "jobgate"), Mode: 0o755, Content: p.Content},
				{Name: path.Join(programFolder, "kubectl-jobgate"), Link: "jobgate"},
			},
		}
	}
	r.config = v1.Config{
		User: fmt.Sprintf("%[1]d:%[1]d", user),
		// kubectl keeps its cache in HOME.
		Env: []string{"PATH=/" + programFolder + ":/" + shellFolder, "HOME=/" + strings.TrimSuffix(homeFolder, "/")},
		// No entry point: a runner starts the job's script with a shell.
		Cmd:        []string{"/bin/sh"},
		WorkingDir: "/" + strings.TrimSuffix(homeFolder, "/"),
		Labels:     labels(s, "jobgate-ci", "kubectl, jobgate and a shell for GitLab CI jobs"),
	}
	return r
}

func shellFiles(b busybox) []pack.File {
	files := []pack.File{
		{Name: path.Join(shellFolder, "busybox"), Mode: 0o755, Content: b.content},
		// The licence of busybox requires that its source is offered: the package's version says where it is.
		{Name: licensesFolder + "busybox/copyright", Mode: 0o644, Content: b.copyright},
		{Name: licensesFolder + "busybox/source", Mode: 0o644, Content: []byte(
			"busybox is Debian's package busybox-static " + b.version + ", unchanged. Debian publishes its source:\n" +
				"https://snapshot.debian.org/binary/busybox-static/\n")},
	}
	for _, name := range applets() {
		files = append(files, pack.File{Name: path.Join(shellFolder, name), Link: "busybox"})
	}
	return files
}
