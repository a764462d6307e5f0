// Command image assembles jobgate's container image from finished binaries, without a container engine: an OCI layout for
// a registry, and on request a docker archive for a node without one and a bill of materials for each binary.
//
// It knows what is in the image and how it runs, and nothing about how binaries are built.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func main() {
	err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	binaries     []string
	certificates string
	version      string
	revision     string
	output       string
	archive      string
	name         string
	sboms        string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Func("binary", "a jobgate binary `FILE`; its platform is read from it (one for each platform, at least one)", func(file string) error {
		o.binaries = append(o.binaries, file)
		return nil
	})
	f.StringVar(&o.certificates, "ca-certificates", "/etc/ssl/certs/ca-certificates.crt",
		"the CA bundle `FILE` that verifies GitLab's certificate; Debian's package ca-certificates has it here")
	f.StringVar(&o.version, "version", "", "the `release` (required)")
	f.StringVar(&o.revision, "revision", "", "the `commit` that the binaries were built from (required)")
	f.StringVar(&o.output, "output", "", "write an OCI layout of all platforms to this `DIR`, in place of the one there")
	f.StringVar(&o.archive, "tar", "", "write a docker archive of the one platform to this `FILE`")
	f.StringVar(&o.name, "name", "", "the image's `NAME` in the docker archive, without a tag (with --tar)")
	f.StringVar(&o.sboms, "sbom", "", "write jobgate-OS-ARCH.cdx.json, a CycloneDX bill of materials of each binary, into this `DIR`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.validate()
}

func (o *options) validate() error {
	switch {
	case len(o.binaries) == 0:
		return errors.New("--binary is missing: build one with `make build`")
	case o.version == "" || o.revision == "":
		return errors.New("--version and --revision are required: a release without them cannot be traced to its source")
	case o.output == "" && o.archive == "":
		return errors.New("nothing to write: give --output or --tar")
	case o.archive != "" && len(o.binaries) != 1:
		return fmt.Errorf("--tar: a docker archive holds one platform, and %d binaries are given", len(o.binaries))
	case (o.archive == "") != (o.name == ""):
		return errors.New("--tar and --name go together")
	}
	return nil
}

// run does what the command line asks for. epoch is SOURCE_DATE_EPOCH: https://reproducible-builds.org/specs/source-date-epoch/
func run(args []string, epoch string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	created, err := parseEpoch(epoch)
	if err != nil {
		return err
	}
	release := release{version: o.version, revision: o.revision, created: created}
	if err := release.validate(); err != nil {
		return err
	}
	bundle, err := readCertificates(o.certificates)
	if err != nil {
		return err
	}
	programs, err := readPrograms(o.binaries)
	if err != nil {
		return err
	}
	images, err := assemble(release, bundle, programs)
	if err != nil {
		return err
	}
	if err := o.write(release, programs, images); err != nil {
		return err
	}
	return report(stdout, bundle, images)
}

func parseEpoch(text string) (time.Time, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is %q, want the commit's time in seconds: "+
			"export SOURCE_DATE_EPOCH=$(git log -1 --format=%%ct)", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

func (o *options) write(r release, programs []program, images []platformImage) error {
	if o.sboms != "" {
		for _, p := range programs {
			if err := writeBOM(o.sboms, r, p); err != nil {
				return err
			}
		}
	}
	if o.archive != "" {
		if err := writeArchive(o.archive, o.name, r, images[0].image); err != nil {
			return err
		}
	}
	if o.output == "" {
		return nil
	}
	return writeLayout(o.output, r, newIndex(images))
}

// report says what was made, by digest; a rebuild is compared with these lines.
func report(w io.Writer, bundle certificates, images []platformImage) error {
	index, err := newIndex(images).Digest()
	if err != nil {
		return fmt.Errorf("digest of the index: %w", err)
	}
	lines := fmt.Sprintf("%s index\n", index)
	for _, i := range images {
		var digest v1.Hash
		if digest, err = i.image.Digest(); err != nil {
			return fmt.Errorf("digest of the image for %s: %w", i.platform, err)
		}
		lines += fmt.Sprintf("%s %s\n", digest, i.platform)
	}
	lines += fmt.Sprintf("sha256:%s %d CA certificates\n", bundle.sum(), bundle.count)
	_, err = io.WriteString(w, lines)
	return err
}
