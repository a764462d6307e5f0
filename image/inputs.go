package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/image/internal/bom"
	"github.com/jobgate/jobgate/image/internal/pack"
	"github.com/jobgate/jobgate/image/internal/program"
)

// inputs is what an image is made from. The programs are ordered by platform. kubectl and busybox are there for the CI image
// alone, and for the same platforms.
type inputs struct {
	certificates     certificates
	license, modules []byte // jobgate's own licence, and those of the modules in the programs
	jobgate, kubectl []program.Program
	busybox          []busybox
}

// maxLicenses bounds the texts of licences, in bytes.
const maxLicenses = 16 << 20

func readInputs(o options) (inputs, error) {
	var in inputs
	var err error
	if in.certificates, err = readCertificates(o.certificates); err != nil {
		return in, err
	}
	for _, text := range []struct {
		file string
		into *[]byte
	}{{o.license, &in.license}, {o.modules, &in.modules}} {
		if *text.into, err = program.ReadBounded(text.file, maxLicenses); err != nil {
			return in, fmt.Errorf("licences: %w", err)
		}
	}
	if in.jobgate, err = program.Read(o.binaries, program.Jobgate); err != nil {
		return in, err
	}
	if in.kubectl, err = program.Read(o.kubectls, program.Kubectl); err != nil {
		return in, err
	}
	for _, p := range slices.Concat(in.jobgate, in.kubectl) {
		if err := p.CheckContainer(); err != nil {
			return in, err
		}
	}
	for _, dir := range o.busyboxes {
		shell, err := readBusybox(dir)
		if err != nil {
			return in, err
		}
		in.busybox = append(in.busybox, shell)
	}
	slices.SortFunc(in.busybox, func(a, b busybox) int { return strings.Compare(a.platform.String(), b.platform.String()) })
	return in, in.checkPlatforms()
}

func (in inputs) platforms() []program.Platform {
	var all []program.Platform
	for _, p := range in.jobgate {
		all = append(all, p.Platform)
	}
	return all
}

// checkPlatforms holds the programs of a CI image to the same platforms.
func (in inputs) checkPlatforms() error {
	var kubectl, shell []program.Platform
	for _, p := range in.kubectl {
		kubectl = append(kubectl, p.Platform)
	}
	for _, b := range in.busybox {
		shell = append(shell, b.platform)
	}
	if !in.ci() {
		return nil
	}
	if want := in.platforms(); !slices.Equal(kubectl, want) || !slices.Equal(shell, want) {
		return fmt.Errorf("--binary is for %v, --kubectl for %v and --busybox for %v: a CI image needs all three for each platform", want, kubectl, shell)
	}
	return nil
}

// ci says whether the image is that of CI jobs.
func (in inputs) ci() bool { return len(in.kubectl)+len(in.busybox) > 0 }

// common are the files of every image on every platform.
func (in inputs) common() []pack.File {
	return []pack.File{
		{Name: certificatesFile, Mode: 0o644, Content: in.certificates.content},
		{Name: licensesFolder + "LICENSE", Mode: 0o644, Content: in.license},
		{Name: licensesFolder + "THIRD-PARTY-LICENSES.txt", Mode: 0o644, Content: in.modules},
	}
}

// programs are those of one platform, jobgate first, and what else is in its image.
func (in inputs) programs(i int) ([]program.Program, []bom.Package) {
	if !in.ci() {
		return in.jobgate[i : i+1], nil
	}
	return []program.Program{in.jobgate[i], in.kubectl[i]}, []bom.Package{in.busybox[i].component()}
}
