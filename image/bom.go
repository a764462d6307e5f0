package main

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
)

// bomVersion is understood by today's scanners; newer ones read it, too.
const bomVersion = cyclonedx.SpecVersion1_6

// writeBOM writes the bill of materials of a binary into dir.
func writeBOM(dir string, r release, p program) error {
	var buffer bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&buffer, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(newBOM(r, p), bomVersion); err != nil {
		return fmt.Errorf("bill of materials for %s: %w", p.platform, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("bill of materials for %s: %w", p.platform, err)
	}
	file := filepath.Join(dir, fmt.Sprintf("jobgate-%s-%s.cdx.json", p.platform.OS, p.platform.Architecture))
	if err := os.WriteFile(file, buffer.Bytes(), 0o644); err != nil {
		return fmt.Errorf("bill of materials for %s: %w", p.platform, err)
	}
	return nil
}

// newBOM lists what the linker says is in the binary: the modules, and Go's standard library. Nothing else is.
func newBOM(r release, p program) *cyclonedx.BOM {
	sum := sha256.Sum256(p.content)
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(sum)
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: r.created.Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef:     packageURL(p.build.Main.Path, r.version),
			Type:       cyclonedx.ComponentTypeApplication,
			Name:       p.build.Main.Path,
			Version:    r.version,
			PackageURL: packageURL(p.build.Main.Path, r.version),
			Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
			Properties: &[]cyclonedx.Property{
				{Name: "revision", Value: r.revision},
				{Name: "platform", Value: p.platform.String()},
			},
		},
	}
	// "stdlib" is the name under which the Go vulnerability database has the standard library.
	components := []cyclonedx.Component{component("stdlib", strings.TrimPrefix(p.build.GoVersion, "go"), "")}
	for _, module := range p.build.Deps {
		components = append(components, moduleComponent(module))
	}
	bom.Components = &components
	return bom
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

// serialNumber is a UUID that the binary decides, so that the same binary has the same bill: version 8 of
// https://www.rfc-editor.org/rfc/rfc9562#section-5.8
func serialNumber(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
