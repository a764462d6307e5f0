package install_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kyaml "sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/install"
)

// ownCluster is a ClusterConfiguration with jobgate in it, in the place of the one that is shipped.
const ownCluster = `# for tests
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
  - name: authentication-token-webhook-config-file
    value: /n/authenticate
  - name: authorization-config
    value: /n/authorization
  extraVolumes:
  - name: jobgate
    hostPath: /n
    mountPath: /n
    readOnly: true
`

// What ownCluster has for each list, at the margin.
const (
	webhookArg    = "- name: authentication-token-webhook-config-file\n  value: /n/authenticate\n"
	authorizerArg = "- name: authorization-config\n  value: /n/authorization\n"
	args          = webhookArg + authorizerArg
	volume        = "- name: jobgate\n  hostPath: /n\n  mountPath: /n\n  readOnly: true\n"
)

// clusterHead and clusterTail are around apiServer as kubeadm writes them.
const (
	clusterHead = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.3\n"
	clusterTail = "networking:\n  serviceSubnet: 10.96.0.0/12\nscheduler: {}\n"
)

func arg(name, value string) string { return "- name: " + name + "\n  value: " + value + "\n" }

// withLists is apiServer with both lists.
func withLists(args, volumes string) string {
	return "apiServer:\n  extraArgs:\n" + indent(args) + "  extraVolumes:\n" + indent(volumes)
}

// cluster is a ClusterConfiguration with both lists.
func cluster(args, volumes string) string { return clusterHead + withLists(args, volumes) }

// otherVolume is not jobgate's.
const otherVolume = "- name: other # mine\n  hostPath: /a\n  mountPath: /b\n"

func TestMergeClusterConfiguration_ChangesNothingElse(t *testing.T) {
	whole := cluster(args, volume) + clusterTail
	for _, row := range []struct{ name, existing, want string }{
		{"as kubeadm exports one", "apiServer: {}\n" + clusterHead + clusterTail, withLists(args, volume) + clusterHead + clusterTail},
		{"no apiServer", "# mine\n\n" + clusterHead + clusterTail, "# mine\n\n" + clusterHead + clusterTail + withLists(args, volume)},
		{"an apiServer without a value", clusterHead + "apiServer:\n" + clusterTail, whole},
		{
			"an apiServer of null", clusterHead + "apiServer: null   # why\n" + clusterTail,
			strings.Replace(whole, "apiServer:", "apiServer: # why", 1),
		},
		{"JSON", strings.NewReplacer("\n", ", ").Replace("{"+strings.TrimSuffix(clusterHead, "\n")) + "}", cluster(args, volume)},
		{"no line break at the end", clusterHead + "apiServer: {}", cluster(args, volume)},
		{
			"other line ends", strings.ReplaceAll(cluster(arg("a", "b"), otherVolume), "\n", "\r\n"),
			cluster(arg("a", "b")+args, otherVolume+volume),
		},
		{
			"no lists", clusterHead + "apiServer:\n  # names\n  certSANs: [a]   # one\n" + clusterTail,
			strings.Replace(whole, "apiServer:\n", "apiServer:\n  # names\n  certSANs: [a] # one\n", 1),
		},
		{
			"an apiServer on one line", clusterHead + "apiServer: {certSANs: [a]}\n" + clusterTail,
			strings.Replace(whole, "apiServer:\n", "apiServer:\n  certSANs: [a]\n", 1),
		},
		{
			"empty lists", clusterHead + "apiServer:\n  extraArgs: []   # none\n  extraVolumes: ~\n  x: 1\n" + clusterTail,
			strings.Replace(cluster(args, volume)+"  x: 1\n"+clusterTail, "extraArgs:", "extraArgs: # none", 1),
		},
		{
			"no extraArgs", clusterHead + "apiServer:\n  extraVolumes:\n" + indent(otherVolume) + clusterTail,
			clusterHead + "apiServer:\n  extraVolumes:\n" + indent(otherVolume+volume) + "  extraArgs:\n" + indent(args) + clusterTail,
		},
		{
			"no extraVolumes", clusterHead + "apiServer:\n  extraArgs:\n" + indent(arg("a", "b")) + clusterTail,
			cluster(arg("a", "b")+args, volume) + clusterTail,
		},
		{
			"comments stay, and blank lines go",
			clusterHead + "apiServer:\n  extraArgs: # here\n\n  # first\n  - name: profiling\n    value: \"false\"   # CIS\n\n  # volumes\n  extraVolumes:\n" +
				indent(otherVolume) + "\n# after\n" + clusterTail,
			clusterHead + "apiServer:\n  extraArgs: # here\n  # first\n  - name: profiling\n    value: \"false\" # CIS\n" + indent(args) +
				"  # volumes\n  extraVolumes:\n" + indent(otherVolume+volume) + "# after\n" + clusterTail,
		},
		{
			"a comment above what goes", cluster("# ask the platform team\n"+arg("authorization-mode", "RBAC")+"# about b\n"+arg("b", "c"), otherVolume),
			cluster("# ask the platform team\n# about b\n"+arg("b", "c")+args, otherVolume+volume),
		},
		{
			"items on one line each",
			cluster("- {name: a, value: b}\n- {name: authorization-mode, value: 'Node,RBAC'}\n", "- {name: x, hostPath: /a, mountPath: /b}\n"),
			cluster("- {name: a, value: b}\n"+args, "- {name: x, hostPath: /a, mountPath: /b}\n"+volume),
		},
		{"an authorization-mode goes, with what belongs to it, and comments stay",
			cluster(arg("authorization-mode", "Node,RBAC")+arg("authorization-webhook-version", "v1")+"# about b\n"+arg("b", "c")+
				arg("authorization-webhook-cache-authorized-ttl", "1s")+arg("authorization-policy-file", "/x"), otherVolume),
			cluster("# about b\n"+arg("b", "c")+arg("authorization-policy-file", "/x")+args, otherVolume+volume)},
		{"nothing but an authorization-mode", cluster(arg("authorization-mode", "RBAC"), otherVolume),
			cluster(args, otherVolume+volume)},
		{
			"an underscore is a dash",
			cluster(arg("authorization_mode", "RBAC")+arg("authorization_config", "/n/authorization"), otherVolume),
			cluster(authorizerArg+webhookArg, otherVolume+volume),
		},
		{"an item in other words stays in its place",
			cluster("# why\n- value: '/n/authorization' # ours\n  name: authorization-config\n"+arg("b", "c"), otherVolume),
			cluster("# why\n- value: '/n/authorization' # ours\n  name: authorization-config\n"+arg("b", "c")+webhookArg, otherVolume+volume)},
		{"an item twice", cluster(authorizerArg+arg("b", "c")+authorizerArg, otherVolume),
			cluster(authorizerArg+arg("b", "c")+webhookArg, otherVolume+volume)},
		{"a volume of another folder", cluster(args, "- name: jobgate\n  hostPath: /old\n  mountPath: /old\n"+otherVolume),
			cluster(args, volume+otherVolume)},
		{"a volume of another name", cluster(args, otherVolume+"# mine\n- name: webhook\n  hostPath: /n\n  mountPath: /n\n"),
			cluster(args, otherVolume+"# mine\n"+volume)},
		{
			"one volume of the name, one of the folder",
			cluster(args, "- name: webhook\n  hostPath: /n\n  mountPath: /n\n"+otherVolume+"- name: jobgate\n  hostPath: /old\n  mountPath: /old\n"),
			cluster(args, volume+otherVolume),
		},
		{"flags that come more than once and are not ours", cluster(arg("a", "b")+arg("a", "c"), otherVolume),
			cluster(arg("a", "b")+arg("a", "c")+args, otherVolume+volume)},
		{
			"a text that looks like items",
			clusterHead + "x: |\n  apiServer:\n    extraArgs:\n    - a\n" + withLists(arg("a", "|\n    # no comment\n    - name: b"), otherVolume),
			clusterHead + "x: |\n  apiServer:\n    extraArgs:\n    - a\n" + withLists(arg("a", "|\n    # no comment\n    - name: b")+args, otherVolume+volume),
		},
		{"everything is there", whole, whole},
		{"other documents are left out",
			"# one\n---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens: [{token: abcdef.0123456789abcdef}]\n---\n# two\n" + clusterHead +
				"apiServer: {}\n--- # three\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n",
			"# two\n" + cluster(args, volume)},
		{
			"another program's ClusterConfiguration",
			"apiVersion: example.com/v1\nkind: ClusterConfiguration\n---\n" + whole, whole,
		},
		{
			"a version that kubeadm resolves",
			strings.Replace(whole, "v1.36.3", "ci/latest", 1), strings.Replace(whole, "v1.36.3", "ci/latest", 1),
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := install.MergeClusterConfiguration([]byte(row.existing), []byte(ownCluster), false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			again, err := install.MergeClusterConfiguration(got, []byte(ownCluster), false)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("the second time it becomes (%v):\n%s", err, again)
			}
		})
	}
}

// Whatever the file: it is refused with a reason, or it means what it did, with jobgate in it.
func FuzzMergeClusterConfiguration(f *testing.F) {
	for _, seed := range []string{
		"apiServer: {}\n" + clusterHead, cluster(arg("a", "b"), otherVolume), cluster(args, volume),
		clusterHead + "apiServer: &a\n  extraArgs: [] # x\n  extraVolumes: !!seq\n" + indent(otherVolume), "--- # x\n" + clusterHead + "...\n",
		clusterHead + "apiServer:\n  extraArgs:\n  -\n    name: authorization_mode\n    value: Node\n  - &x\n    name: a\n    value: |\n     # b\r\n",
		"x: |+\n  y\n\n\n---\n" + clusterHead + "apiServer:\n\n", clusterHead + "\"apiServer\": null\n", "? apiServer\n: extraArgs: []\n" + clusterHead,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, existing []byte) {
		merged, err := install.MergeClusterConfiguration(existing, []byte(ownCluster), true)
		var refused *install.ClusterConfigurationError
		if errors.As(err, &refused) {
			return
		}
		if err != nil {
			t.Fatalf("the error is of another type: %v", err)
		}
		var decoded map[string]any
		if err := kyaml.Unmarshal(merged, &decoded); err != nil {
			t.Fatalf("%v:\n%s", err, merged)
		}
		server, _ := decoded["apiServer"].(map[string]any)
		args, _ := server["extraArgs"].([]any)
		volumes, _ := server["extraVolumes"].([]any)
		flags := map[any]any{}
		for _, a := range args {
			if fields, ok := a.(map[string]any); ok {
				flags[fields["name"]] = fields["value"]
			}
		}
		if flags["authentication-token-webhook-config-file"] != "/n/authenticate" || flags["authorization-config"] != "/n/authorization" ||
			flags["authorization-mode"] != nil || len(volumes) == 0 {
			t.Fatalf("it became:\n%s", merged)
		}
		again, err := install.MergeClusterConfiguration(merged, []byte(ownCluster), true)
		if err != nil || !bytes.Equal(again, merged) {
			t.Fatalf("the second time (%v):\n%s", err, again)
		}
	})
}
