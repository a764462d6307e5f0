package install_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/install"
)

func TestMergeClusterConfiguration_Refuses(t *testing.T) {
	webhookOf := func(path string) string { return arg("authentication-token-webhook-config-file", path) }
	for _, row := range []struct{ name, existing, want string }{
		{"another authentication webhook", cluster(webhookOf("/other"), otherVolume),
			"apiServer.extraArgs has authentication-token-webhook-config-file=/other: that is another authentication webhook, and kube-apiserver can have only one"},
		{
			"another one behind ours",
			cluster(webhookOf("/n/authenticate")+webhookOf("/other"), otherVolume),
			"=/other: that is another",
		},
		{
			"its own authorizers",
			cluster(arg("authorization-config", "/other"), otherVolume),
			"apiServer.extraArgs has authorization-config=/other: those authorizers would be lost: give them with --authorization-config",
		},
		{"more modes than kubeadm's", cluster(arg("authorization-mode", "Node,RBAC,Webhook"), otherVolume),
			"has authorization-mode=Node,RBAC,Webhook: those authorizers would be lost: give them with --authorization-config"},
		{
			"an older version",
			"apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\napiServer: {extraArgs: {a: b}}\n",
			"it is kubeadm.k8s.io/v1beta3, and jobgate can be put into kubeadm.k8s.io/v1beta4 alone",
		},
		{
			"a later version",
			strings.Replace(clusterHead, "v1beta4", "v1beta5", 1),
			"it is kubeadm.k8s.io/v1beta5, and this jobgate",
		},
		{
			"a map of arguments",
			clusterHead + "apiServer:\n  extraArgs: {a: b}\n",
			"apiServer.extraArgs is not a list, which kubeadm.k8s.io/v1beta4 requires",
		},
		{
			"an old Kubernetes",
			strings.Replace(clusterHead, "v1.36.3", "v1.31.9", 1),
			"the cluster has Kubernetes v1.31.9, and jobgate needs 1.32 or later",
		},
		{
			"no version of Kubernetes",
			"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n",
			"it has no kubernetesVersion, so it is not what the cluster has",
		},
		{
			"the whole ConfigMap",
			"apiVersion: v1\nkind: ConfigMap\ndata:\n  ClusterConfiguration: |\n" + indent(indent(clusterHead)),
			"it has no ClusterConfiguration, but ConfigMap; to export the cluster's:\n" + install.ExportClusterConfiguration(),
		},
		{"comments alone", "# nothing\n", "it has no ClusterConfiguration, but nothing"},
		{"two", clusterHead + "---\n" + clusterHead, "it has two documents of kind ClusterConfiguration"},
		{"no YAML", "a: [\n", "not a ClusterConfiguration: "},
		{"text", "kubeadm\n", "not a ClusterConfiguration: "},
		{"a key twice", clusterHead + "kind: ClusterConfiguration\n", `key "kind" already set in map`},
		{"an apiServer that is no mapping", clusterHead + "apiServer: [a]\n", "apiServer.extraArgs is not a list"},
		{
			"an argument without a name",
			clusterHead + "apiServer:\n  extraArgs:\n  - name: a\n    value: b\n  - value: b\n",
			"apiServer.extraArgs[1] has no name",
		},
		{"an alias", clusterHead + "x: &x []\napiServer:\n  extraArgs: *x\n", "it uses an alias (*name): write out what the alias repeats"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := install.MergeClusterConfiguration([]byte(row.existing), []byte(ownCluster), false)
			var refused *install.ClusterConfigurationError
			if got != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q with %v, want an error with %q", got, err, row.want)
			}
		})
	}
}

func TestMergeClusterConfiguration_NamesEverythingThatIsInTheWay(t *testing.T) {
	existing := cluster(arg("authorization-mode", "ABAC")+arg("authentication-token-webhook-config-file", "/other"), otherVolume)
	_, err := install.MergeClusterConfiguration([]byte(existing), []byte(ownCluster), false)
	if err == nil || strings.Count(err.Error(), "apiServer.extraArgs has ") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestMergeClusterConfiguration_AuthorizersThatAreGivenAreNotLost(t *testing.T) {
	for _, row := range []struct{ name, arg string }{
		{"a file", arg("authorization-config", "/other")},
		{"modes", arg("authorization-mode", "Node,Webhook") + arg("authorization-webhook-config-file", "/x")},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := install.MergeClusterConfiguration([]byte(cluster(row.arg, otherVolume)), []byte(ownCluster), true)
			if err != nil {
				t.Fatal(err)
			}
			for _, gone := range []string{"/other", "authorization-mode", "/x"} {
				if bytes.Contains(got, []byte(gone)) {
					t.Errorf("%s is still there:\n%s", gone, got)
				}
			}
		})
	}
}
