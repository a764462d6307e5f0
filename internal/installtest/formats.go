package installtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/install"
)

// clusterConfiguration has the keys of kubeadm.k8s.io/v1beta4 that jobgate needs:
// https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/ (kubeadm's own types read it in e2e).
type clusterConfiguration struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	APIServer  struct {
		ExtraArgs    []struct{ Name, Value string } `json:"extraArgs"`
		ExtraVolumes []struct {
			Name      string `json:"name"`
			HostPath  string `json:"hostPath"`
			MountPath string `json:"mountPath"`
			ReadOnly  bool   `json:"readOnly"`
			PathType  string `json:"pathType"`
		} `json:"extraVolumes"`
	} `json:"apiServer"`
}

func (r *Reading) kubeadm(text []byte) error {
	var c clusterConfiguration
	if err := kyaml.UnmarshalStrict(text, &c); err != nil {
		return err
	}
	if c.APIVersion != "kubeadm.k8s.io/v1beta4" || c.Kind != "ClusterConfiguration" {
		return fmt.Errorf("it is a %s of %s", c.Kind, c.APIVersion)
	}
	for _, a := range c.APIServer.ExtraArgs {
		r.Flags = append(r.Flags, install.Flag{Name: a.Name, Value: a.Value})
	}
	for _, v := range c.APIServer.ExtraVolumes {
		r.Mounts = append(r.Mounts, Mount{HostPath: v.HostPath, MountPath: v.MountPath, ReadOnly: v.ReadOnly})
	}
	return nil
}

// rancher reads a drop-in of k3s or RKE2. Its keys are flags of the server, with a plus where values are added to those of
// other files: https://docs.k3s.io/installation/configuration#configuration-file. The flags, which the kube-apiserver of
// k3s has no mounts among: https://docs.k3s.io/cli/server and https://docs.rke2.io/reference/server_config.
func (r *Reading) rancher(target string) reader {
	const args, mounts = "kube-apiserver-arg+", "kube-apiserver-extra-mount+"
	known := map[string][]string{"k3s": {args}, "rke2": {args, mounts}}[target]
	return func(text []byte) error {
		var c map[string][]string
		if err := kyaml.UnmarshalStrict(text, &c); err != nil {
			return err
		}
		if keys := slices.Sorted(maps.Keys(c)); !slices.Equal(keys, known) {
			return fmt.Errorf("it has the keys %q, not %q", keys, known)
		}
		for _, arg := range c[args] {
			name, value, _ := strings.Cut(arg, "=")
			r.Flags = append(r.Flags, install.Flag{Name: name, Value: value})
		}
		for _, m := range c[mounts] {
			// Of RKE2's three forms the one with "ro" (rancher/rke2 pkg/podtemplate, addExtraMounts).
			parts := strings.Split(m, ":")
			if len(parts) != 3 || parts[2] != "ro" {
				return fmt.Errorf("mount %q is not host:container:ro", m)
			}
			r.Mounts = append(r.Mounts, Mount{HostPath: parts[0], MountPath: parts[1], ReadOnly: true})
		}
		return nil
	}
}

func (r *Reading) kustomization(text []byte) error {
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	if err := kyaml.UnmarshalStrict(text, &k); err != nil {
		return err
	}
	if want := []string{"namespace.yaml", "serviceaccount.yaml", "daemonset.yaml"}; !slices.Equal(k.Resources, want) {
		return fmt.Errorf("its resources are %q, not %q", k.Resources, want)
	}
	return nil
}

func (r *Reading) flagLines(text []byte) error {
	for line := range strings.Lines(string(text)) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || !strings.HasPrefix(name, "--") {
			return fmt.Errorf("line %q is no flag", line)
		}
		r.Flags = append(r.Flags, install.Flag{Name: strings.TrimPrefix(name, "--"), Value: value})
	}
	return nil
}

// NodeFile is an item of Talos' machine.files.
type NodeFile struct {
	Path        string      `yaml:"path"`
	Op          string      `yaml:"op"`
	Permissions fs.FileMode `yaml:"permissions"`
	Content     string      `yaml:"content"`
}

// machineConfiguration has the keys of Talos' machine configuration that jobgate needs:
// https://docs.siderolabs.com/talos/v1.12/reference/configuration/v1alpha1/config, or Talos' own Go types,
// pkg/machinery/config/types/v1alpha1 (MachineConfig, MachineFile, APIServerConfig, VolumeMountConfig,
// AuthorizationConfigAuthorizerConfig).
type machineConfiguration struct {
	Machine struct {
		Files []NodeFile  `yaml:"files"`
		Pods  []yaml.Node `yaml:"pods"`
	} `yaml:"machine"`
	Cluster struct {
		APIServer struct {
			ExtraArgs    map[string]string `yaml:"extraArgs"`
			ExtraVolumes []struct {
				HostPath  string `yaml:"hostPath"`
				MountPath string `yaml:"mountPath"`
				ReadOnly  bool   `yaml:"readonly"`
			} `yaml:"extraVolumes"`
			AuthorizationConfig []struct {
				Name    string    `yaml:"name"`
				Type    string    `yaml:"type"`
				Webhook yaml.Node `yaml:"webhook"`
			} `yaml:"authorizationConfig"`
		} `yaml:"apiServer"`
	} `yaml:"cluster"`
}

func (r *Reading) talos(text []byte) error {
	var c machineConfiguration
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		return err
	}
	if len(c.Machine.Pods) != 1 {
		return fmt.Errorf("it has %d pods", len(c.Machine.Pods))
	}
	pod, err := yaml.Marshal(&c.Machine.Pods[0])
	if err != nil {
		return err
	}
	if err := r.staticPod(pod); err != nil {
		return err
	}
	r.NodeFiles = c.Machine.Files
	for _, name := range slices.Sorted(maps.Keys(c.Cluster.APIServer.ExtraArgs)) {
		r.Flags = append(r.Flags, install.Flag{Name: name, Value: c.Cluster.APIServer.ExtraArgs[name]})
	}
	for _, v := range c.Cluster.APIServer.ExtraVolumes {
		r.Mounts = append(r.Mounts, Mount(v))
	}
	return r.talosAuthorizers(c)
}

// talosAuthorizers reads the list with Kubernetes' own type, as kube-apiserver does with what Talos makes of it.
func (r *Reading) talosAuthorizers(c machineConfiguration) error {
	for _, a := range c.Cluster.APIServer.AuthorizationConfig {
		authorizer := apiserverv1.AuthorizerConfiguration{Type: a.Type, Name: a.Name}
		if !a.Webhook.IsZero() {
			webhook, err := yaml.Marshal(&a.Webhook)
			if err != nil {
				return err
			}
			authorizer.Webhook = new(apiserverv1.WebhookConfiguration)
			if err := kyaml.UnmarshalStrict(webhook, authorizer.Webhook); err != nil {
				return fmt.Errorf("authorizer %s: %w", a.Name, err)
			}
		}
		r.Authorizers = append(r.Authorizers, authorizer)
	}
	return nil
}
