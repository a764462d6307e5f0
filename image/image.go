package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/jobgate/jobgate/image/internal/pack"
	"github.com/jobgate/jobgate/image/internal/program"
	"github.com/jobgate/jobgate/image/internal/stamp"
)

// user runs every image: a number, since runAsNonRoot cannot judge a name, and there is no /etc/passwd.
const user = 65532

// What every image has.
const (
	certificatesFile = "etc/ssl/certs/ca-certificates.crt" // the first place where Go's crypto/x509 looks on Linux
	licensesFolder   = "licenses/"
)

// recipe says what is in an image and how it runs.
type recipe struct {
	config v1.Config
	common []pack.File                        // on every platform
	layers map[program.Platform][][]pack.File // a layer each, above the common one
}

// serviceRecipe is the image of a control plane: jobgate, and nothing else that runs.
func serviceRecipe(s stamp.Stamp, in inputs) recipe {
	r := recipe{common: in.common(), layers: map[program.Platform][][]pack.File{}}
	for _, p := range in.jobgate {
		r.layers[p.Platform] = [][]pack.File{{{Name: "jobgate", Mode: 0o755, Content: p.Content}}}
	}
	r.config = v1.Config{
		User: fmt.Sprintf("%[1]d:%[1]d", user),
		// `kubectl exec POD -- jobgate explain` finds it.
		Env: []string{"PATH=/"},
		// Reviews; health and metrics.
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "9444/tcp": {}},
		Entrypoint:   []string{"/jobgate"},
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
		Labels:       labels(s, "jobgate", "kube-apiserver's authentication and authorization webhook for GitLab CI jobs"),
	}
	return r
}

func labels(s stamp.Stamp, title, description string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       title,
		"org.opencontainers.image.description": description,
		"org.opencontainers.image.source":      "https://github.com/jobgate/jobgate",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     s.Version,
		"org.opencontainers.image.revision":    s.Revision,
	}
}

// platformImage is the image for one platform.
type platformImage struct {
	platform program.Platform
	image    v1.Image
}

// assemble makes an image for each of the platforms, in their order.
func assemble(s stamp.Stamp, r recipe, platforms []program.Platform) ([]platformImage, error) {
	if len(platforms) == 0 {
		return nil, errors.New("assemble: no program")
	}
	common, err := newLayer(s, r.common)
	if err != nil {
		return nil, fmt.Errorf("layer of all platforms: %w", err)
	}
	var images []platformImage
	for _, platform := range platforms {
		layers := []v1.Layer{common}
		for _, files := range r.layers[platform] {
			layer, err := newLayer(s, files)
			if err != nil {
				return nil, fmt.Errorf("layer for %s: %w", platform, err)
			}
			layers = append(layers, layer)
		}
		image, err := newImage(s, r.config, platform, layers)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", platform, err)
		}
		images = append(images, platformImage{platform: platform, image: image})
	}
	return images, nil
}

func newLayer(s stamp.Stamp, files []pack.File) (v1.Layer, error) {
	var buffer bytes.Buffer
	if err := pack.Tar(&buffer, s.Created, files); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer),
		tarball.WithCompressionLevel(gzip.DefaultCompression), tarball.WithCompressedCaching)
}

func newImage(s stamp.Stamp, config v1.Config, platform program.Platform, layers []v1.Layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	configFile, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	configFile = configFile.DeepCopy()
	configFile.OS, configFile.Architecture = platform.OS, platform.Architecture
	configFile.Created = v1.Time{Time: s.Created}
	configFile.Config = config
	if image, err = mutate.ConfigFile(image, configFile); err != nil {
		return nil, err
	}
	for _, layer := range layers {
		history := v1.History{Created: v1.Time{Time: s.Created}, CreatedBy: "github.com/jobgate/jobgate/image"}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, History: history}); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// newIndex lists the images by platform. A single platform has one, too: what is pulled and signed is always an index.
func newIndex(images []platformImage) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		platform := &v1.Platform{OS: i.platform.OS, Architecture: i.platform.Architecture}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: i.image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index
}
