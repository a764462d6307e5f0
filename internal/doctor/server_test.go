package doctor_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/doctor"
)

// tunnel is what GitLab writes.
const tunnel = "https://kas.gitlab.example.com/k8s-proxy/"

func cluster(change func(*clientcmdapi.Cluster)) func(*scene) {
	return kubeconfig(func(c *clientcmdapi.Config) { change(c.Clusters["own"]) })
}

func at(server string) func(*scene) {
	return cluster(func(c *clientcmdapi.Cluster) { c.Server = server })
}

func TestRun_Server(t *testing.T) {
	proxied := func(*http.Request) (*url.URL, error) {
		return url.Parse("http://u:SecretPassword@proxy.example.com:3128")
	}
	rows := []row{
		{"the context's", func(*scene) {}, "server", doctor.OK, []string{"https://127.0.0.1:"}, nil},
		{"the tunnel", at(tunnel), "server", doctor.Failure, []string{"GitLab's tunnel", "jobgate kubeconfig", ".jobgate"}, nil},
		{"the tunnel, with nothing else known", at(tunnel), "identity", doctor.NotChecked, []string{"there is no API server"}, nil},
		{"the tunnel, with JOBGATE_URL", tunnelWithVariables, "server", doctor.Failure,
			[]string{"GitLab's tunnel", "the other checks use $JOBGATE_URL"}, nil},
		{"the tunnel, with JOBGATE_URL, and the rest", tunnelWithVariables, "identity", doctor.OK, []string{"gitlab:ci_job:1001"}, nil},
		{"the tunnel in JOBGATE_URL, too", func(s *scene) {
			at(tunnel)(s)
			s.vars["JOBGATE_URL"] = tunnel
		}, "server", doctor.Failure, []string{"GitLab's tunnel"}, []string{"the other checks"}},
		{"the tunnel as a flag", func(s *scene) { s.options.Server = tunnel }, "server", doctor.Failure, []string{"GitLab's tunnel"}, nil},
		{"http", at("http://api.example.com"), "server", doctor.Failure, []string{"begins with http://"}, nil},
		{"a password in it", at("https://u:SecretPassword@api.example.com"), "server", doctor.Failure, []string{"not of the form"}, []string{"Secret"}},
		{"none", at(""), "server", doctor.Failure, []string{"JOBGATE_URL is not set"}, nil},
		{"none, but JOBGATE_URL", func(s *scene) {
			at("")(s)
			s.vars["JOBGATE_URL"], s.vars["JOBGATE_CA_FILE"] = s.api.URL, string(s.api.ca())
		}, "identity", doctor.OK, nil, nil},
		{"none, and GitLab's KUBE_URL", func(s *scene) {
			at("")(s)
			s.vars["KUBE_URL"], s.vars["KUBE_TOKEN"] = s.api.URL, "certificate-cluster"
		}, "server", doctor.Failure, []string{"JOBGATE_URL is not set", "KUBE_URL is not used", "KUBE_TOKEN"}, nil},
		{"GitLab's KUBE_URL in the context", certificateCluster, "server", doctor.Failure,
			[]string{"connected to with certificates", "jobgate kubeconfig"}, nil},
		{"GitLab's KUBE_URL in the context, and the rest", certificateCluster, "identity", doctor.NotChecked, nil, nil},
		{"the same address as KUBE_URL, on purpose", func(s *scene) {
			certificateCluster(s)
			s.vars["JOBGATE_URL"] = s.api.URL
		}, "identity", doctor.OK, nil, nil},
		{"flags instead", func(s *scene) {
			at("https://unused.example.com")(s)
			s.options.Server, s.options.CA = s.api.URL, string(s.api.ca())
		}, "identity", doctor.OK, nil, nil},
		{"another than JOBGATE_URL", set("JOBGATE_URL", "https://api.example.com"), "server", doctor.Warning,
			[]string{`but $JOBGATE_URL is "https://api.example.com"`}, nil},
		{"the same as JOBGATE_URL but for a slash", func(s *scene) { s.vars["JOBGATE_URL"] = s.api.URL + "/" }, "server", doctor.OK, nil, nil},
		{"a certificate that nobody checks", cluster(func(c *clientcmdapi.Cluster) {
			c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
		}), "server", doctor.Warning, []string{"anyone in between can take the token"}, nil},
		{"a certificate that nobody checks, and the rest", cluster(func(c *clientcmdapi.Cluster) {
			c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
		}), "identity", doctor.OK, nil, nil},
		{"a CA that is not there", cluster(func(c *clientcmdapi.Cluster) {
			c.CertificateAuthority, c.CertificateAuthorityData = "/nonexistent/ca.crt", nil
		}), "server", doctor.Failure, []string{"/nonexistent/ca.crt", "JOBGATE_CA_FILE"}, nil},
		{"a CA in a file", func(s *scene) {
			file := filepath.Join(s.t.TempDir(), "ca.crt")
			if err := os.WriteFile(file, s.api.ca(), 0o600); err != nil {
				s.t.Fatal(err)
			}
			cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthority, c.CertificateAuthorityData = file, nil })(s)
		}, "identity", doctor.OK, nil, nil},
		{"through a proxy", func(s *scene) { s.options.Proxy = proxied }, "server", doctor.OK, []string{"through the proxy http://u:xxxxx@proxy"}, []string{"Secret"}},
		{"through a proxy, and the steps to it", func(s *scene) { s.options.Proxy = proxied }, "tcp", doctor.NotChecked, []string{"go through a proxy"}, nil},
		{"a proxy that is none", cluster(func(c *clientcmdapi.Cluster) { c.ProxyURL = "http://%zz" }), "server", doctor.Failure, []string{"the proxy cannot be used"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// certificateCluster is a job whose context points where GitLab's own KUBE_URL does.
func certificateCluster(s *scene) {
	s.vars["KUBE_URL"], s.vars["KUBE_TOKEN"] = s.api.URL, "certificate-cluster"
}

func tunnelWithVariables(s *scene) {
	cluster(func(c *clientcmdapi.Cluster) { c.Server, c.CertificateAuthorityData = tunnel, nil })(s)
	s.vars["JOBGATE_URL"], s.vars["JOBGATE_CA_FILE"] = s.api.URL, string(s.api.ca())
}
