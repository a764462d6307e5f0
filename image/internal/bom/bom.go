// Package bom writes the bill of materials of what is released, as CycloneDX.
package bom

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"

	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/stamp"
)

// specification is a version of CycloneDX that scanners read today.
const specification = cyclonedx.SpecVersion1_6

// Package is something in an image that is not a Go module, such as a package of Debian's.
type Package struct{ Name, Version, URL string }

// Write writes the bill of materials of the first program, and of what lies beside it in the same image, into a file.
func Write(file string, s stamp.Stamp, programs []program.Program, packages ...Package) error {
	var buffer bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&buffer, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(newBOM(s, programs, packages), specification); err != nil {
		return fmt.Errorf("bill of materials %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	if err := os.WriteFile(file, buffer.Bytes(), 0o644); err != nil {
		return fmt.Errorf("bill of materials: %w", err)
	}
	return nil
}

// newBOM lists what the linker says is in the programs: the modules, and Go's standard library.
func newBOM(s stamp.Stamp, programs []program.Program, packages []Package) *cyclonedx.BOM {
	p := programs[0]
	sum := sha256.Sum256(p.Content)
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(programs)
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: s.Created.Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef:     packageURL(p.Build.Main.Path, s.Version),
			Type:       cyclonedx.ComponentTypeApplication,
			Name:       p.Build.Main.Path,
			Version:    s.Version,
			PackageURL: packageURL(p.Build.Main.Path, s.Version),
			Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
			Properties: &[]cyclonedx.Property{
				{Name: "revision", Value: s.Revision},
				{Name: "platform", Value: p.Platform.String()},
			},
		},
	}
	components := moduleComponents(programs)
	for _, other := range packages {
		components = append(components, cyclonedx.Component{
			BOMRef: other.URL, Type: cyclonedx.ComponentTypeApplication, Name: other.Name, Version: other.Version,
			Scope: cyclonedx.ScopeRequired, PackageURL: other.URL,
		})
	}
	bom.Components = &components
	return bom
}

// moduleComponents lists every module once.
func moduleComponents(programs []program.Program) []cyclonedx.Component {
	var components []cyclonedx.Component
	listed := map[string]bool{}
	add := func(c cyclonedx.Component) {
		if !listed[c.BOMRef] {
			listed[c.BOMRef] = true
			components = append(components, c)
		}
	}
	for i, p := range programs {
		if i > 0 {
			main := p.Build.Main
			add(moduleComponent(&main))
		}
		// The Go vulnerability database has the standard library under the name stdlib.
		add(component("stdlib", strings.TrimPrefix(p.Build.GoVersion, "go"), ""))
		for _, module := range p.Build.Deps {
			add(moduleComponent(module))
		}
	}
	return components
}

// moduleComponent names what was compiled: of a replaced module, the replacement.
func moduleComponent(module *debug.Module) cyclonedx.Component {
	for module.Replace != nil {
		module = module.Replace
	}
	return component(module.Path, module.Version, module.Sum)
}

func component(path, version, goSum string) cyclonedx.Component {
	c := cyclonedx.Component{
		BOMRef:     packageURL(path, version),
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       path,
		Version:    version,
		Scope:      cyclonedx.ScopeRequired,
		PackageURL: packageURL(path, version),
	}
	if goSum != "" {
		// A hash of hashes, not of a file, so not among the component's hashes.
		c.Properties = &[]cyclonedx.Property{{Name: "go.sum", Value: goSum}}
	}
	return c
}

// packageURL names a module: https://github.com/package-url/purl-spec. Of what a module path or version may contain, only +
// needs to be escaped.
func packageURL(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// serialNumber is a UUID that the programs decide, so that the same programs have the same bill: version 8 of
// https://www.rfc-editor.org/rfc/rfc9562#section-5.8
func serialNumber(programs []program.Program) string {
	sum := sha256.New()
	for _, p := range programs {
		sum.Write(p.Content)
	}
	id := sum.Sum(nil)[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
