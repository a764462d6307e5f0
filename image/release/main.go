// Command release packs finished binaries: an archive for each platform, a Debian package for each Linux, bills of materials,
// krew's manifest of the kubectl plugin, and the checksums of it all. The same inputs give the same bytes.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/image/internal/bom"
	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/stamp"
)

func main() {
	err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	binaries          []string
	documents         string // a folder with man/man1 and completions
	license, modules  string
	changelog         string
	version, revision string
	output            string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Func("binary", "a jobgate binary `FILE` for each platform", func(file string) error {
		o.binaries = append(o.binaries, file)
		return nil
	})
	f.StringVar(&o.documents, "documents", "", "a `DIR` with man/man1 and completions (required)")
	f.StringVar(&o.license, "license", "../LICENSE", "jobgate's licence `FILE`")
	f.StringVar(&o.modules, "third-party-licenses", "", "the licences `FILE` of the modules in the binaries (required)")
	f.StringVar(&o.changelog, "changelog", "../CHANGELOG.md", "the list of changes, a `FILE`")
	f.StringVar(&o.version, "version", "", "the `release`, such as v1.2.3 (required)")
	f.StringVar(&o.revision, "revision", "", "the `commit` that the binaries were built from (required)")
	f.StringVar(&o.output, "output", "", "write to this new `DIR` (required)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case len(o.binaries) == 0 || o.documents == "" || o.modules == "" || o.output == "":
		return o, errors.New("--binary, --documents, --third-party-licenses and --output are required")
	}
	return o, nil
}

func run(args []string, epoch string, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := stamp.New(o.version, o.revision, epoch)
	if err != nil {
		return err
	}
	if err := s.Released(); err != nil {
		return err
	}
	programs, err := program.Read(o.binaries, program.Jobgate)
	if err != nil {
		return err
	}
	d, err := readDocuments(o)
	if err != nil {
		return err
	}
	if err := os.Mkdir(o.output, 0o755); err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	return release{stamp: s, documents: d, output: o.output}.write(programs)
}

// release writes files into its output folder.
type release struct {
	stamp     stamp.Stamp
	documents documents
	output    string
}

func (r release) write(programs []program.Program) error {
	var archives []archive
	for _, p := range programs {
		a, err := r.writeArchive(p)
		if err != nil {
			return fmt.Errorf("archive for %s: %w", p.Platform, err)
		}
		archives = append(archives, a)
		if err := bom.Write(filepath.Join(r.output, r.name(p.Platform)+".cdx.json"), r.stamp, []program.Program{p}); err != nil {
			return err
		}
		if p.Platform.OS == "linux" {
			if err := r.writeDebian(p); err != nil {
				return fmt.Errorf("package of Debian for %s: %w", p.Platform, err)
			}
		}
	}
	if err := r.writeKrew(archives); err != nil {
		return fmt.Errorf("krew's manifest: %w", err)
	}
	return r.writeChecksums()
}

// name is how files for a platform begin.
func (r release) name(p program.Platform) string {
	return fmt.Sprintf("jobgate-%s-%s-%s", r.stamp.Version, p.OS, p.Architecture)
}

func (r release) writeFile(name string, content []byte) error {
	return os.WriteFile(filepath.Join(r.output, name), content, 0o644)
}

// checksums is the file that `sha256sum --check` reads.
const checksums = "SHA256SUMS"

func (r release) writeChecksums() error {
	entries, err := os.ReadDir(r.output)
	if err != nil {
		return fmt.Errorf("checksums: %w", err)
	}
	var lines []string
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(r.output, entry.Name()))
		if err != nil {
			return fmt.Errorf("checksums: %w", err)
		}
		lines = append(lines, fmt.Sprintf("%x  %s\n", sha256.Sum256(content), entry.Name()))
	}
	slices.Sort(lines)
	return r.writeFile(checksums, []byte(strings.Join(lines, "")))
}
