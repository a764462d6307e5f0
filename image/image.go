package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Where things lie in the image.
const (
	programFile      = "jobgate"
	certificatesFile = "etc/ssl/certs/ca-certificates.crt" // the first place where Go's crypto/x509 looks on Linux
)

// release is what the image says of itself. With the same release, binaries and CA bundle the image is the same, byte for
// byte.
type release struct {
	version  string
	revision string    // of the source
	created  time.Time // whole seconds; also the time of every file
}

// validate holds version and revision to what may stand in an image's tag.
func (r release) validate() error {
	pattern := regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$`)
	for name, value := range map[string]string{"version": r.version, "revision": r.revision} {
		if !pattern.MatchString(value) {
			return fmt.Errorf("--%s is %q, want up to 128 of letters, digits and _ . -, as in an image's tag", name, value)
		}
	}
	return nil
}

// config says how the image is run.
func (r release) config() v1.Config {
	return v1.Config{
		// Numbers: runAsNonRoot cannot judge a name, and there is no /etc/passwd.
		User: "65532:65532",
		// `kubectl exec POD -- jobgate explain` finds it.
		Env: []string{"PATH=/"},
		// Reviews; health and metrics.
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "9444/tcp": {}},
		Entrypoint:   []string{"/" + programFile},
		WorkingDir:   "/",
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "jobgate",
			"org.opencontainers.image.description": "kube-apiserver's authentication and authorization webhook for GitLab CI jobs",
			"org.opencontainers.image.source":      "https://github.com/jobgate/jobgate",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     r.version,
			"org.opencontainers.image.revision":    r.revision,
		},
	}
}

// platformImage is the image for one platform.
type platformImage struct {
	platform v1.Platform
	image    v1.Image
}

// assemble makes an image of each program, ordered by platform, so that the order of flags decides nothing.
func assemble(r release, bundle certificates, programs []program) ([]platformImage, error) {
	if len(programs) == 0 {
		return nil, errors.New("assemble: no program")
	}
	trust, err := newLayer(r.created, file{name: certificatesFile, mode: 0o644, content: bundle.content})
	if err != nil {
		return nil, fmt.Errorf("layer of CA certificates: %w", err)
	}
	var images []platformImage
	for _, p := range programs {
		layer, err := newLayer(r.created, file{name: programFile, mode: 0o755, content: p.content})
		if err != nil {
			return nil, fmt.Errorf("layer of the program for %s: %w", p.platform, err)
		}
		image, err := newImage(r, p.platform, trust, layer)
		if err != nil {
			return nil, fmt.Errorf("image for %s: %w", p.platform, err)
		}
		images = append(images, platformImage{platform: p.platform, image: image})
	}
	slices.SortFunc(images, func(a, b platformImage) int { return strings.Compare(a.platform.String(), b.platform.String()) })
	return images, nil
}

func newImage(r release, platform v1.Platform, layers ...v1.Layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	configFile, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	configFile = configFile.DeepCopy()
	configFile.OS, configFile.Architecture = platform.OS, platform.Architecture
	configFile.Created = v1.Time{Time: r.created}
	configFile.Config = r.config()
	if image, err = mutate.ConfigFile(image, configFile); err != nil {
		return nil, err
	}
	for _, layer := range layers {
		history := v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "github.com/jobgate/jobgate/image"}
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
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: i.image, Descriptor: v1.Descriptor{Platform: &i.platform}})
	}
	return index
}
