package install_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/util/webhook"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/policy"
)

func common(t *testing.T, o install.Options) map[string]string {
	t.Helper()
	files, err := install.Common(o)
	must(t, err)
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Path] = string(f.Content)
		if f.Mode != 0o644 {
			t.Errorf("%s has mode %o", f.Path, f.Mode)
		}
	}
	return texts
}

func TestCommon_ConfigurationSaysWhatTheOptionsDo(t *testing.T) {
	for _, row := range []struct {
		name string
		o    install.Options
		want func(c *config.Configuration)
	}{
		{
			"plain", install.Options{GitLabURL: "https://gitlab.example.com", Agents: []install.Agent{{ID: 4}}},
			func(c *config.Configuration) {
				c.GitLab.URL, c.Agents = "https://gitlab.example.com", []config.Agent{{ID: 4}}
			},
		},
		{
			"everything", install.Options{
				GitLabURL: "HTTP://gitlab.example.com:8080/gitlab", GitLabCA: []byte("x"),
				Agents: []install.Agent{{ID: 9223372036854775807, Name: "p/a:b"}, {ID: 1, Name: `"#'[{&*!|>%@` + ":x"}},
			},
			func(c *config.Configuration) {
				c.GitLab.URL, c.GitLab.AllowPlainHTTP, c.GitLab.CAFile = "HTTP://gitlab.example.com:8080/gitlab", true, "gitlab-ca.crt"
				c.Agents = []config.Agent{{ID: 9223372036854775807, Name: "p/a:b"}, {ID: 1, Name: `"#'[{&*!|>%@` + ":x"}}
			},
		},
		{
			"grants alone", install.Options{
				GitLabURL: "https://gitlab.example.com", GitLabTokenFile: "/etc/jobgate/gitlab-token",
				Grant: install.Grant{Cluster: "prod-eu", Projects: []int64{150, 151}, Groups: []int64{23}, Audience: "https://kubernetes.example.com"},
			},
			func(c *config.Configuration) {
				c.GitLab.URL, c.GitLab.TokenFile, c.Cluster.Name = "https://gitlab.example.com", "/etc/jobgate/gitlab-token", "prod-eu"
				c.IDTokens.Audience = "https://kubernetes.example.com"
				c.Grants = []policy.Grant{{Name: "prod-eu", Projects: []int64{150, 151}, Groups: []int64{23}}}
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.o.NodeDir, row.o.Address, row.o.HealthAddress = "/etc/jobgate", "[::1]:9443", ":9444"
			files := common(t, row.o)
			got, err := config.Parse("config.yaml", []byte(files["config.yaml"]))
			must(t, err)
			want := config.Default()
			want.APIVersion, want.Kind = config.APIVersion, config.Kind
			want.Serving = config.Serving{
				Address: "[::1]:9443", HealthAddress: ":9444", CertFile: "pki/serving.pem", KeyFile: "pki/serving.pem",
				ClientCAFile: "pki/ca.crt", ClientNames: []string{"kube-apiserver"},
			}
			row.want(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if files["gitlab-ca.crt"] != string(row.o.GitLabCA) {
				t.Errorf("gitlab-ca.crt holds %q", files["gitlab-ca.crt"])
			}
		})
	}
}

// The API server's own loader takes names relative to the file.
func TestCommon_KubeconfigsAsTheAPIServerReadsThem(t *testing.T) {
	for _, row := range []struct{ name, address, want string }{
		{"loopback", "127.0.0.1:9443", "https://127.0.0.1:9443"},
		{"IPv6", "[::1]:9443", "https://[::1]:9443"},
		{"name", "jobgate.example.com:9443", "https://jobgate.example.com:9443"},
		{"all interfaces", "0.0.0.0:9443", "https://127.0.0.1:9443"},
		{"all interfaces of IPv6", "[::]:9443", "https://[::1]:9443"},
		{"no host", ":9443", "https://127.0.0.1:9443"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := defaults(t, "systemd")
			o.Address = row.address
			files, dir := common(t, o), t.TempDir()
			_, err := certs.OpenPKI(filepath.Join(dir, install.PKIDir)).Issue(certs.Request{})
			must(t, err)
			for file, endpoint := range map[string]string{"authenticate.kubeconfig": "/authenticate", "authorize.kubeconfig": "/authorize"} {
				c, err := webhook.LoadKubeconfig(write(t, filepath.Join(dir, file), files[file]), nil)
				must(t, err)
				got := [4]string{c.Host, c.CAFile, c.CertFile, c.KeyFile}
				client := filepath.Join(dir, "pki", "client.pem")
				want := [4]string{row.want + endpoint, filepath.Join(dir, "pki", "ca.crt"), client, client}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: -want +got:\n%s", file, diff)
				}
			}
		})
	}
}

func TestCommon_AuthorizersAreTheShippedOnesWithTheNodesKubeconfig(t *testing.T) {
	o := defaults(t, "systemd")
	shipped, err := os.ReadFile("../../manifests/authorization-configuration.yaml")
	must(t, err)
	if diff := cmp.Diff(string(shipped), common(t, o)["authorization.yaml"]); diff != "" {
		t.Errorf("-shipped +got:\n%s", diff)
	}
	o.NodeDir = "/opt/x"
	want := strings.Replace(string(shipped), "/etc/kubernetes/jobgate/authorize.kubeconfig", "/opt/x/authorize.kubeconfig", 1)
	if diff := cmp.Diff(want, common(t, o)["authorization.yaml"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	o.Authorizers = []byte(header + "authorizers:\n" + webhookItem("a") + rbac)
	if got := common(t, o)["authorization.yaml"]; !strings.Contains(got, "kubeConfigFile: /opt/x/authorize.kubeconfig\n") ||
		!strings.Contains(got, "name: a\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestAPIServerFlags(t *testing.T) {
	var got []string
	for _, f := range install.APIServerFlags("/opt/x") {
		got = append(got, f.String())
	}
	want := []string{
		"--authentication-token-webhook-config-file=/opt/x/authenticate.kubeconfig",
		"--authentication-token-webhook-version=v1",
		"--authentication-token-webhook-cache-ttl=10s",
		"--authorization-config=/opt/x/authorization.yaml",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
