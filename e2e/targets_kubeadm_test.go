package e2e_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	kubeadmapi "k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/constants"
	"k8s.io/kubernetes/cmd/kubeadm/app/phases/controlplane"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/config"

	"github.com/jobgate/jobgate/internal/install"
)

// The kubeadm configuration of a cluster, without jobgate.
const (
	kubeadmCluster = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
	// kubeadmVersion goes with it: without one, kubeadm asks the internet.
	kubeadmVersion = "kubernetesVersion: v1.36.0\n"
	kubeadmNode    = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n" +
		"localAPIEndpoint: {advertiseAddress: 192.0.2.7, bindPort: 7443}\n"
)

func kubeadmPatch(t *testing.T) (install.Options, string) {
	t.Helper()
	o, d := target(t, "kubeadm")
	return o, clusterConfigurationOf(d)
}

func clusterConfigurationOf(d install.Deployment) string {
	i := slices.IndexFunc(d.Files, func(f install.File) bool { return filepath.Base(f.Path) == "cluster-configuration.yaml" })
	return string(d.Files[i].Content)
}

// kubeadmConfiguration loads a configuration as kubeadm --config does.
func kubeadmConfiguration(t *testing.T, text string) *kubeadmapi.InitConfiguration {
	t.Helper()
	c, err := config.BytesToInitConfiguration([]byte(text), true)
	if err != nil {
		t.Fatalf("kubeadm does not load %s: %v", text, err)
	}
	return c
}

// kubeAPIServer is the container that kubeadm makes of a configuration.
func kubeAPIServer(c *kubeadmapi.InitConfiguration) (corev1.Container, []corev1.Volume) {
	pod := controlplane.GetStaticPodSpecs(&c.ClusterConfiguration, &c.LocalAPIEndpoint, nil)[constants.KubeAPIServer]
	return pod.Spec.Containers[0], pod.Spec.Volumes
}

func TestKubeadm_KnowsEveryKeyOfThePatch(t *testing.T) {
	_, patch := kubeadmPatch(t)
	if err := config.ValidateConfig([]byte(patch+kubeadmVersion+kubeadmNode), false, false); err != nil {
		t.Errorf("kubeadm config validate: %v", err)
	}
	if err := config.ValidateConfig([]byte(patch+kubeadmVersion+"apiserver: {}\n"+kubeadmNode), false, false); err == nil {
		t.Error("kubeadm does not mind unknown keys, so this test shows nothing")
	}
}

// TestKubeadm_KubeAPIServerDiffersByTheFlagsAndTheMount has kubeadm write kube-apiserver's pod with and without the patch.
func TestKubeadm_KubeAPIServerDiffersByTheFlagsAndTheMount(t *testing.T) {
	o, patch := kubeadmPatch(t)
	checkDifference(t, o, kubeadmConfiguration(t, kubeadmCluster+kubeadmVersion+kubeadmNode),
		kubeadmConfiguration(t, patch+kubeadmVersion+kubeadmNode), "--authorization-mode=Node,RBAC")
}

// checkDifference has kubeadm write kube-apiserver's pod from both configurations.
func checkDifference(t *testing.T, o install.Options, withoutJobgate, withJobgate *kubeadmapi.InitConfiguration, goes string) {
	t.Helper()
	before, volumesBefore := kubeAPIServer(withoutJobgate)
	after, volumesAfter := kubeAPIServer(withJobgate)
	var flags []string
	for _, f := range install.APIServerFlags(o.NodeDir) {
		flags = append(flags, f.String())
	}
	slices.Sort(flags)
	if diff := cmp.Diff(flags, without(after.Command, before.Command)); diff != "" {
		t.Errorf("flags that come on top (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{goes}, without(before.Command, after.Command)); diff != "" {
		t.Errorf("flags that go (-want +got):\n%s", diff)
	}
	mounts := []corev1.VolumeMount{{Name: "jobgate", MountPath: o.NodeDir, ReadOnly: true}}
	if diff := cmp.Diff(mounts, added(before.VolumeMounts, after.VolumeMounts)); diff != "" {
		t.Errorf("mounts that come on top (-want +got):\n%s", diff)
	}
	volumes := []corev1.Volume{{Name: "jobgate", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: o.NodeDir, Type: new(corev1.HostPathDirectory)},
	}}}
	if diff := cmp.Diff(volumes, added(volumesBefore, volumesAfter)); diff != "" {
		t.Errorf("volumes that come on top (-want +got):\n%s", diff)
	}
}

// without are the sorted items of a that b has not.
func without(a, b []string) []string {
	return slices.Sorted(slices.Values(slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })))
}

// added are the items of after that before has not.
func added[T any](before, after []T) []T {
	return slices.DeleteFunc(slices.Clone(after), func(a T) bool {
		return slices.ContainsFunc(before, func(b T) bool { return cmp.Equal(a, b) })
	})
}

// kubeadmExported is what the ConfigMap kubeadm-config holds: what kubeadm wrote there, and what an admin added.
const kubeadmExported = `apiServer:
  certSANs:
  - api.example.com
  extraArgs:
  # jobgate takes its place
  - name: authorization-mode
    value: Node,RBAC
  - name: audit-log-path   # see the runbook
    value: /var/log/kubernetes/audit.log
  - name: service-account-issuer
    value: https://issuer.example.com
  - name: service-account-issuer
    value: https://kubernetes.default.svc.cluster.local

  extraVolumes:
  - hostPath: /var/log/kubernetes
    mountPath: /var/log/kubernetes
    name: audit
    pathType: DirectoryOrCreate
apiVersion: kubeadm.k8s.io/v1beta4
caCertificateValidityPeriod: 87600h0m0s
certificateValidityPeriod: 8760h0m0s
certificatesDir: /etc/kubernetes/pki
clusterName: kubernetes
controlPlaneEndpoint: api.example.com:6443
controllerManager:
  extraArgs:
  - name: profiling
    value: "false"
dns: {}
encryptionAlgorithm: RSA-2048
# not on these nodes
etcd:
  external:
    caFile: /etc/kubernetes/pki/etcd-ca.crt
    certFile: /etc/kubernetes/pki/etcd-client.crt
    endpoints:
    - https://192.0.2.20:2379
    keyFile: /etc/kubernetes/pki/etcd-client.key
imageRepository: registry.k8s.io
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
networking:
  dnsDomain: cluster.local
  podSubnet: 10.244.0.0/16
  serviceSubnet: 10.96.0.0/12
proxy: {}
scheduler: {}
`

// kubeadmMerged is what init makes of a cluster's configuration.
func kubeadmMerged(t *testing.T, exported string) (install.Options, string) {
	t.Helper()
	o, _ := target(t, "kubeadm")
	o.ClusterConfiguration = []byte(exported)
	kubeadm, err := install.Lookup(o.Target)
	if err != nil {
		t.Fatal(err)
	}
	d, err := kubeadm.Deploy(o)
	if err != nil {
		t.Fatal(err)
	}
	return o, clusterConfigurationOf(d)
}

// TestKubeadm_MergedConfigurationAddsFlagsAndMountAlone has kubeadm read an existing cluster's configuration with and
// without jobgate, strictly, and write kube-apiserver's pod.
func TestKubeadm_MergedConfigurationAddsFlagsAndMountAlone(t *testing.T) {
	for _, row := range []struct {
		name, exported string
		goes           string
	}{
		{"an admin's own", kubeadmExported, "--authorization-mode=Node,RBAC"},
		{"nothing but defaults", "apiServer: {}\n" + kubeadmCluster + kubeadmVersion, "--authorization-mode=Node,RBAC"},
		{"another order", strings.Replace(kubeadmExported, "value: Node,RBAC", "value: RBAC,Node", 1), "--authorization-mode=RBAC,Node"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o, merged := kubeadmMerged(t, row.exported)
			if err := config.ValidateConfig([]byte(merged+kubeadmNode), false, false); err != nil {
				t.Errorf("kubeadm config validate: %v\n%s", err, merged)
			}
			before, after := kubeadmConfiguration(t, row.exported+kubeadmNode), kubeadmConfiguration(t, merged+kubeadmNode)
			checkDifference(t, o, before, after, row.goes)
			before.APIServer, after.APIServer = kubeadmapi.APIServer{}, kubeadmapi.APIServer{}
			// kubeadm makes new ones each time.
			before.BootstrapTokens, after.BootstrapTokens = nil, nil
			if !reflect.DeepEqual(before, after) {
				t.Errorf("something else changed:\n%+v\n%+v", before, after)
			}
		})
	}
}
