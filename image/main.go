// Command image assembles jobgate's container images from finished binaries, without a container engine: the image of a
// control plane, or, with kubectl and a shell, that of CI jobs. It writes an OCI layout for a registry, and on request a
// docker archive for a node without one and a bill of materials for each platform.
//
// It knows what is in the image and how it runs, and nothing about how binaries are built.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/jobgate/jobgate/image/internal/bom"
	"github.com/jobgate/jobgate/image/internal/stamp"
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
	binaries, kubectls, busyboxes []string
	certificates                  string
	license, modules              string
	version, revision             string
	output                        string
	archive, name                 string
	sboms                         string
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("image", flag.ContinueOnError)
	f.SetOutput(stderr)
	list := func(name, usage string, into *[]string) {
		f.Func(name, usage, func(value string) error {
			*into = append(*into, value)
			return nil
		})
	}
	list("binary", "a jobgate binary `FILE`; its platform is read from it (one for each platform, at least one)", &o.binaries)
	list("kubectl", "a kubectl binary `FILE` for each platform: makes the image of CI jobs (with --busybox)", &o.kubectls)
	list("busybox", "a `DIR` with busybox, its version and its copyright for each platform, from hack/busybox (with --kubectl)", &o.busyboxes)
	f.StringVar(&o.certificates, "ca-certificates", "/etc/ssl/certs/ca-certificates.crt",
		"the CA bundle `FILE` that verifies GitLab's certificate; Debian's package ca-certificates has it here")
	f.StringVar(&o.license, "license", "../LICENSE", "jobgate's licence `FILE`")
	f.StringVar(&o.modules, "third-party-licenses", "", "the licences `FILE` of the modules in the binaries, from ./licenses (required)")
	f.StringVar(&o.version, "version", "", "the `release` (required)")
	f.StringVar(&o.revision, "revision", "", "the `commit` that the binaries were built from (required)")
	f.StringVar(&o.output, "output", "", "write an OCI layout of all platforms to this `DIR`, in place of the one there")
	f.StringVar(&o.archive, "tar", "", "write a docker archive of the one platform to this `FILE`")
	f.StringVar(&o.name, "name", "", "the image's `NAME` in the docker archive, without a tag (with --tar)")
	f.StringVar(&o.sboms, "sbom", "", "write a CycloneDX bill of materials for each platform into this `DIR`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.validate()
}

func (o options) validate() error {
	switch {
	case len(o.binaries) == 0:
		return errors.New("--binary is missing: build one with `make build`")
	case o.modules == "":
		return errors.New("--third-party-licenses is missing: write them with `make licenses`")
	case o.output == "" && o.archive == "":
		return errors.New("nothing to write: give --output or --tar")
	case o.archive != "" && len(o.binaries) != 1:
		return fmt.Errorf("--tar: a docker archive holds one platform, and %d binaries are given", len(o.binaries))
	case (o.archive == "") != (o.name == ""):
		return errors.New("--tar and --name go together")
	}
	return nil
}

// run does what the command line says. epoch is the value of SOURCE_DATE_EPOCH.
func run(args []string, epoch string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := stamp.New(o.version, o.revision, epoch)
	if err != nil {
		return err
	}
	in, err := readInputs(o)
	if err != nil {
		return err
	}
	r := serviceRecipe(s, in)
	if in.ci() {
		r = ciRecipe(s, in)
	}
	images, err := assemble(s, r, in.platforms())
	if err != nil {
		return err
	}
	if err := o.write(s, in, images); err != nil {
		return err
	}
	return report(stdout, in.certificates, images)
}

func (o *options) write(s stamp.Stamp, in inputs, images []platformImage) error {
	if o.sboms != "" {
		name := "jobgate"
		if in.ci() {
			name = "jobgate-ci"
		}
		for i, p := range in.platforms() {
			programs, packages := in.programs(i)
			file := filepath.Join(o.sboms, fmt.Sprintf("%s-%s-%s.cdx.json", name, p.OS, p.Architecture))
			if err := bom.Write(file, s, programs, packages...); err != nil {
				return err
			}
		}
	}
	if o.archive != "" {
		if err := writeArchive(o.archive, o.name, s, images[0].image); err != nil {
			return err
		}
	}
	if o.output == "" {
		return nil
	}
	return writeLayout(o.output, s, newIndex(images))
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
