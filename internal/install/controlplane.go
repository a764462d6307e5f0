package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/file"
)

// askTimeout bounds the one request to the cluster.
const askTimeout = 10 * time.Second

// What a control-plane node of kubeadm, or of RKE2, has.
const (
	serverManifest     = kubeadmStaticPods + "/kube-apiserver.yaml"
	rke2ServerManifest = rke2StaticPods + "/kube-apiserver.yaml"
	adminConf          = "/etc/kubernetes/admin.conf"
)

// controlPlane is the kube-apiserver of the node that init runs on, as its static pod starts it.
type controlPlane struct {
	root     string // of the node's files
	manifest string
	flags    map[string]string
	mounts   map[string]string // folders in the container, and on the node
}

// readStaticPod returns nil on a machine without the manifest.
func readStaticPod(root, manifest string) (*controlPlane, error) {
	c := &controlPlane{
		root: root, manifest: filepath.Join(root, manifest),
		flags: map[string]string{}, mounts: map[string]string{},
	}
	text, err := file.Read(c.manifest, maxInputBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pod corev1.Pod
	if err := kyaml.Unmarshal(text, &pod); err != nil {
		return nil, fmt.Errorf("%s: %w", c.manifest, err)
	}
	folders := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		if v.HostPath != nil {
			folders[v.Name] = v.HostPath.Path
		}
	}
	for _, container := range pod.Spec.Containers {
		for _, arg := range append(container.Command, container.Args...) {
			addFlag(c.flags, arg)
		}
		for _, m := range container.VolumeMounts {
			c.mounts[path.Clean(m.MountPath)] = folders[m.Name]
		}
	}
	return c, nil
}

// addFlag notes an argument of the form --name=value.
func addFlag(flags map[string]string, arg string) {
	if name, value, ok := strings.Cut(strings.TrimPrefix(arg, "--"), "="); ok {
		flags[strings.ReplaceAll(name, "_", "-")] = value
	}
}

// onNode is where the node has a file that kube-apiserver has at a path.
func (c *controlPlane) onNode(name string) string {
	for folder := path.Clean(name); folder != "/" && folder != "."; folder = path.Dir(folder) {
		if host, ok := c.mounts[folder]; ok {
			return filepath.Join(c.root, host, strings.TrimPrefix(path.Clean(name), folder))
		}
	}
	return filepath.Join(c.root, name)
}

// otherAuthorizers are flags for authorizers that an AuthorizationConfiguration would replace, and that kubeadm does not set.
func (c *controlPlane) otherAuthorizers() []string {
	var flags []string
	for name, value := range c.flags {
		if excludesAuthorizationConfig(name) && !(name == modeFlag && onlyDefaultModes(value)) {
			flags = append(flags, Flag{name, value}.String())
		}
	}
	return flags
}

// clusterConfiguration asks the cluster for the ClusterConfiguration that kubeadm keeps in it.
func (c *controlPlane) clusterConfiguration(ctx context.Context) ([]byte, error) {
	kubeconfig, err := file.Read(filepath.Join(c.root, adminConf), maxInputBytes)
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	config.Timeout = askTimeout
	client, err := typedcorev1.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	stored, err := client.ConfigMaps(metav1.NamespaceSystem).Get(ctx, "kubeadm-config", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	text := stored.Data[clusterKind]
	if text == "" {
		return nil, fmt.Errorf("the ConfigMap kubeadm-config has no %s", clusterKind)
	}
	return []byte(text), nil
}
