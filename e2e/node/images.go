//go:build linux

package node

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Image is a container image with one static program.
type Image struct {
	Name       string   // with registry and tag
	Program    string   // a file of this machine
	Entrypoint []string // the program's base name if empty
	Links      []string // further names of the program, as busybox needs them
}

// write writes the image as a tar archive that containerd imports.
func (i Image) write(out io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	a := archive{tar: tar.NewWriter(out)}
	entrypoint := i.Entrypoint
	if len(entrypoint) == 0 {
		entrypoint = []string{filepath.Base(i.Program)}
	}
	layerAt := a.blob("application/vnd.oci.image.layer.v1.tar", layer)
	configAt := a.object("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": entrypoint, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{layerAt.Digest}},
	})
	manifestAt := a.object("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": configAt, "layers": []descriptor{layerAt},
	})
	manifestAt.Annotations = map[string]string{"io.containerd.image.name": i.Name}
	a.file("index.json", mustJSON(map[string]any{"schemaVersion": 2, "manifests": []descriptor{manifestAt}}))
	a.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return errors.Join(a.err, a.tar.Close())
}

// layer is a file system with the program in /bin, and an empty /tmp.
func (i Image) layer() ([]byte, error) {
	content, err := os.ReadFile(i.Program)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	name := filepath.Base(i.Program)
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777},
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "bin/" + name, Mode: 0o755, Size: int64(len(content))},
	}
	for _, link := range i.Links {
		headers = append(headers, &tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + link, Linkname: name})
	}
	for _, h := range headers {
		err = errors.Join(err, w.WriteHeader(h))
		if h.Size > 0 {
			_, writeErr := w.Write(content)
			err = errors.Join(err, writeErr)
		}
	}
	return layer.Bytes(), errors.Join(err, w.Close())
}

// descriptor refers to a blob.
// https://github.com/opencontainers/image-spec/blob/main/descriptor.md
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// archive is an OCI layout in a tar archive; err is the first error.
type archive struct {
	tar *tar.Writer
	err error
}

func (a *archive) object(mediaType string, value any) descriptor {
	return a.blob(mediaType, mustJSON(value))
}

func (a *archive) blob(mediaType string, content []byte) descriptor {
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	a.file("blobs/sha256/"+digest, content)
	return descriptor{MediaType: mediaType, Digest: "sha256:" + digest, Size: len(content)}
}

func (a *archive) file(name string, content []byte) {
	if a.err != nil {
		return
	}
	if a.err = a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}); a.err == nil {
		_, a.err = a.tar.Write(content)
	}
}

func mustJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("maps of strings and numbers: %v", err))
	}
	return text
}

// ImportLayout gives the machine the image in an OCI layout, which is a folder. The tag is the layout's.
func (m *Machine) ImportLayout(ctx context.Context, layout, name string) error {
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	if err := errors.Join(w.AddFS(os.DirFS(layout)), w.Close()); err != nil {
		return fmt.Errorf("read the image in %s: %w", layout, err)
	}
	return m.importFrom(ctx, &buffer, "--base-name="+name)
}

func (m *Machine) importFrom(ctx context.Context, archive io.Reader, flags ...string) error {
	cmd := m.Command(ctx, append(append([]string{"ctr", "--namespace=k8s.io", "images", "import"}, flags...), "-")...)
	cmd.Stdin = archive
	if _, err := run(cmd); err != nil {
		return fmt.Errorf("import an image: %w", err)
	}
	return nil
}

// Busybox is where hack/busybox has put it.
func Busybox(repository string) string {
	return filepath.Join(repository, ".cache", "busybox", runtime.GOARCH, "busybox")
}

// ImportControlPlane gives the machine the images that kubeadm's static pods name, made from this machine's programs.
func (m *Machine) ImportControlPlane(ctx context.Context) error {
	printed, err := m.Run(ctx, "kubeadm config images list --kubernetes-version="+m.programs.Kubernetes)
	if err != nil {
		return err
	}
	programs := map[string]Image{
		"kube-apiserver":          {Program: m.programs.APIServer},
		"kube-controller-manager": {Program: m.programs.ControllerManager},
		"kube-scheduler":          {Program: m.programs.Scheduler},
		"etcd":                    {Program: m.programs.Etcd},
		"pause":                   {Program: Busybox(m.programs.Repository), Entrypoint: []string{"busybox", "sleep", "infinity"}},
	}
	for name := range strings.FieldsSeq(printed) {
		repository, _, _ := strings.Cut(filepath.Base(name), ":")
		image, ok := programs[repository]
		if !ok {
			continue // kube-proxy and CoreDNS are addons, which this cluster goes without
		}
		image.Name = name
		if err := m.ImportImage(ctx, image); err != nil {
			return err
		}
	}
	return nil
}

// ImportImage gives the machine an image.
func (m *Machine) ImportImage(ctx context.Context, image Image) error {
	var buffer bytes.Buffer
	if err := image.write(&buffer); err != nil {
		return fmt.Errorf("write the image %s: %w", image.Name, err)
	}
	return m.importFrom(ctx, &buffer)
}
