package install_test

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/install"
)

// controlPlane is a node of a kubeadm cluster: its kube-apiserver's flags, and the ClusterConfiguration that the cluster has.
type controlPlane struct {
	flags   []string
	cluster string
	asked   int
}

// files puts the node's files below a folder. /etc/policy of the node is /policy in kube-apiserver's container.
func (c *controlPlane) files(t *testing.T, root string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c.asked++; r.URL.Path != "/api/v1/namespaces/kube-system/configmaps/kubeadm-config" || c.cluster == "" {
			http.NotFound(w, r)
			return
		}
		m := corev1.ConfigMap{Data: map[string]string{"ClusterConfiguration": c.cluster}}
		m.APIVersion, m.Kind = "v1", "ConfigMap"
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(m)
	}))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, folder := range []string{"etc/kubernetes/manifests", "etc/policy"} {
		must(t, os.MkdirAll(filepath.Join(root, folder), 0o755))
	}
	must(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"a": {Server: server.URL, CertificateAuthorityData: ca}},
		Contexts:       map[string]*clientcmdapi.Context{"a": {Cluster: "a"}},
		CurrentContext: "a",
	}, filepath.Join(root, "etc/kubernetes/admin.conf")))
	write(t, filepath.Join(root, "etc/kubernetes/manifests/kube-apiserver.yaml"), `apiVersion: v1
kind: Pod
spec:
  containers:
  - name: kube-apiserver
    command:
    - kube-apiserver
    - `+strings.Join(c.flags, "\n    - ")+`
    volumeMounts: [{name: policy, mountPath: /policy}, {name: certs, mountPath: /etc/ssl}]
  volumes:
  - {name: policy, hostPath: {path: /etc/policy}}
  - {name: certs, emptyDir: {}}
`)
	write(t, filepath.Join(root, "etc/policy/authorizers.yaml"), header+"authorizers:\n"+node+webhookItem("policy")+rbac)
}

const defaultModes = "--authorization-mode=Node,RBAC"

func TestSetup_FindsTheClusterOfTheNode(t *testing.T) {
	present := "apiServer: {}\n" + clusterHead + clusterTail
	for _, row := range []struct {
		name    string
		node    controlPlane
		change  func(in *install.Input, root string)
		want    string // in the ClusterConfiguration or the authorizers, or in the error
		refused bool
		asked   int
	}{
		{name: "as kubeadm makes it", node: controlPlane{[]string{defaultModes}, present, 0}, want: "serviceSubnet: 10.96.0.0/12", asked: 1},
		{
			name: "with its own authorizers", node: controlPlane{[]string{"--authorization-config=/policy/authorizers.yaml"}, present, 0},
			want: "name: policy", asked: 1,
		},
		{
			name: "with authorizers on the command line", node: controlPlane{[]string{"--authorization-mode=Node,RBAC,Webhook"}, present, 0},
			change: func(in *install.Input, root string) { in.AuthorizersFile = root + "/etc/policy/authorizers.yaml" },
			want:   "name: policy", asked: 1,
		},
		{
			name: "with the configuration on the command line", node: controlPlane{[]string{defaultModes}, "", 0},
			change: func(in *install.Input, root string) {
				in.ClusterConfigFile = filepath.Join(root, "given.yaml")
			},
			want: "clusterName: given",
		},
		{name: "of another target", node: controlPlane{[]string{"--authentication-token-webhook-config-file=/other"}, "", 0},
			change: func(in *install.Input, _ string) { in.Target = "systemd" }, want: "name: rbac"},
		{
			name: "with another authentication webhook", node: controlPlane{[]string{"--authentication-token-webhook-config-file=/other"}, present, 0},
			want:    "kube-apiserver.yaml: kube-apiserver has --authentication-token-webhook-config-file=/other: that is another authentication webhook",
			refused: true,
		},
		{
			name: "with other modes", node: controlPlane{[]string{"--authorization_mode=Node,RBAC,Webhook", "--authorization-webhook-version=v1"}, present, 0},
			want: "kube-apiserver has --authorization-mode=Node,RBAC,Webhook --authorization-webhook-version=v1: write these authorizers", refused: true,
		},
		{
			name: "with authorizers that are not there", node: controlPlane{[]string{"--authorization-config=/policy/none"}, present, 0},
			want: "--authorization-config: stat ", refused: true,
		},
		{
			name: "whose cluster does not answer", node: controlPlane{[]string{defaultModes}, "", 0},
			want: "export it, and give the file:\n" + install.ExportClusterConfiguration(), refused: true, asked: 1,
		},
		{
			name: "whose configuration is old", node: controlPlane{[]string{defaultModes}, strings.Replace(present, "v1beta4", "v1beta3", 1), 0},
			want: install.ExportClusterConfiguration() + "\nkubeadm config migrate --old-config=/root/cluster-configuration.yaml", refused: true, asked: 1,
		},
		{
			name: "whose manifest is none", node: controlPlane{[]string{"a: [", defaultModes}, present, 0},
			want: "--target: cannot look at this node's kube-apiserver: ", refused: true,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := t.TempDir()
			row.node.files(t, root)
			write(t, filepath.Join(root, "given.yaml"), clusterHead+"clusterName: given\n")
			in := input(root)
			in.Target = "kubeadm"
			if row.change != nil {
				row.change(&in, root)
			}
			s, err := in.Setup(t.Context())
			if (err != nil) != row.refused {
				t.Fatalf("got %v", err)
			}
			said := ""
			if err != nil {
				said = err.Error()
			} else {
				plan, err := install.New(s.Options)
				must(t, err)
				for _, f := range plan.Files {
					said += string(f.Content)
				}
			}
			if !strings.Contains(said, row.want) || row.node.asked != row.asked {
				t.Errorf("asked %d times; %q is missing in\n%s", row.node.asked, row.want, said)
			}
		})
	}
}

// A second run, after kube-apiserver has its flags, finds what the first one made, and loses no authorizer.
func TestSetup_ASecondRunOnTheNodeChangesNothing(t *testing.T) {
	for _, authorizers := range []string{defaultModes, "--authorization-config=/policy/authorizers.yaml"} {
		t.Run(authorizers, func(t *testing.T) {
			root := t.TempDir()
			n := controlPlane{[]string{authorizers}, "apiServer: {}\n" + clusterHead + clusterTail, 0}
			n.files(t, root)
			// kube-apiserver has the folder at its path on the node, which is below root here.
			in := input(root)
			in.Target, in.Dir, in.NodeDir = "kubeadm", filepath.Join(root, "/opt/jobgate"), "/opt/jobgate"
			s := setup(t, in)
			w := applied(t, in)
			if len(s.Notes) == 0 || !strings.Contains(s.Notes[0], "kube-apiserver.yaml is there") {
				t.Errorf("notes: %q", s.Notes)
			}
			n.flags = nil
			for _, f := range w.Flags {
				n.flags = append(n.flags, f.String())
			}
			cluster, err := os.ReadFile(filepath.Join(in.Dir, clusterFile))
			must(t, err)
			n.cluster = string(cluster)
			n.files(t, root)
			if again := applied(t, in); again.Directory.Writes() {
				t.Errorf("the second time: %v", outcomes(again))
			}
		})
	}
}
