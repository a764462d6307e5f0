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

func cluster(change func(*clientcmdapi.Cluster)) func(*setup) {
	return kubeconfig(func(c *clientcmdapi.Config) { change(c.Clusters["own"]) })
}

func at(server string) func(*setup) {
	return cluster(func(c *clientcmdapi.Cluster) { c.Server = server })
}

func TestRun_Server(t *testing.T) {
	proxied := func(*http.Request) (*url.URL, error) {
		return url.Parse("http://u:SecretPassword@proxy.example.com:3128")
	}
	rows := []row{
		{name: "the context's", finding: "server", state: doctor.OK, say: []string{"https://127.0.0.1:"}},
		{name: "the tunnel", arrange: at(tunnel), finding: "server", state: doctor.Failure,
			say: []string{"GitLab's tunnel", "jobgate kubeconfig", ".jobgate"}},
		{name: "the tunnel, with nothing else known", arrange: at(tunnel), finding: "identity", state: doctor.NotChecked,
			say: []string{"there is no API server"}},
		{name: "the tunnel, with JOBGATE_URL", arrange: tunnelWithVariables, finding: "server", state: doctor.Failure,
			say: []string{"GitLab's tunnel", "the other checks use $JOBGATE_URL"}},
		{name: "the tunnel, with JOBGATE_URL, and the rest", arrange: tunnelWithVariables, finding: "identity", state: doctor.OK,
			say: []string{"gitlab:ci_job:1001"}},
		{name: "the tunnel in JOBGATE_URL, too", arrange: func(s *setup) {
			at(tunnel)(s)
			s.vars["JOBGATE_URL"] = tunnel
		}, finding: "server", state: doctor.Failure, say: []string{"GitLab's tunnel"}, not: []string{"the other checks"}},
		{name: "the tunnel as a flag", arrange: func(s *setup) { s.options.Server = tunnel }, finding: "server", state: doctor.Failure,
			say: []string{"GitLab's tunnel"}},
		{name: "http", arrange: at("http://api.example.com"), finding: "server", state: doctor.Failure,
			say: []string{"begins with http://"}},
		{name: "a password in it", arrange: at("https://u:SecretPassword@api.example.com"), finding: "server", state: doctor.Failure,
			say: []string{"not of the form"}, not: []string{"Secret"}},
		{name: "none", arrange: at(""), finding: "server", state: doctor.Failure, say: []string{"JOBGATE_URL is not set"}},
		{name: "none, but JOBGATE_URL", arrange: func(s *setup) {
			at("")(s)
			s.vars["JOBGATE_URL"], s.vars["JOBGATE_CA_FILE"] = s.api.URL, string(s.api.ca())
		}, finding: "identity", state: doctor.OK},
		{name: "none, and GitLab's KUBE_URL", arrange: func(s *setup) {
			at("")(s)
			s.vars["KUBE_URL"], s.vars["KUBE_TOKEN"] = s.api.URL, "certificate-cluster"
		}, finding: "server", state: doctor.Failure, say: []string{"JOBGATE_URL is not set", "KUBE_URL is not used", "KUBE_TOKEN"}},
		{name: "GitLab's KUBE_URL in the context", arrange: certificateCluster, finding: "server", state: doctor.Failure,
			say: []string{"connected to with certificates", "jobgate kubeconfig"}},
		{name: "GitLab's KUBE_URL in the context, and the rest", arrange: certificateCluster,
			finding: "identity", state: doctor.NotChecked},
		{name: "the same address as KUBE_URL, on purpose", arrange: func(s *setup) {
			certificateCluster(s)
			s.vars["JOBGATE_URL"] = s.api.URL
		}, finding: "identity", state: doctor.OK},
		{name: "flags instead", arrange: func(s *setup) {
			at("https://unused.example.com")(s)
			s.options.Server, s.options.CA = s.api.URL, string(s.api.ca())
		}, finding: "identity", state: doctor.OK},
		{name: "another than JOBGATE_URL", arrange: set("JOBGATE_URL", "https://api.example.com"), finding: "server", state: doctor.Warning,
			say: []string{`but $JOBGATE_URL is "https://api.example.com"`}},
		{name: "the same as JOBGATE_URL but for a slash", arrange: func(s *setup) { s.vars["JOBGATE_URL"] = s.api.URL + "/" },
			finding: "server", state: doctor.OK},
		{name: "a certificate that is not checked", arrange: cluster(func(c *clientcmdapi.Cluster) {
			c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
		}), finding: "server", state: doctor.Warning, say: []string{"anyone in between can take the token"}},
		{name: "a certificate that is not checked, and the rest", arrange: cluster(func(c *clientcmdapi.Cluster) {
			c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
		}), finding: "identity", state: doctor.OK},
		{name: "a CA that is not there", arrange: cluster(func(c *clientcmdapi.Cluster) {
			c.CertificateAuthority, c.CertificateAuthorityData = "/nonexistent/ca.crt", nil
		}), finding: "server", state: doctor.Failure, say: []string{"/nonexistent/ca.crt", "JOBGATE_CA_FILE"}},
		{name: "a CA in a file", arrange: func(s *setup) {
			file := filepath.Join(s.t.TempDir(), "ca.crt")
			if err := os.WriteFile(file, s.api.ca(), 0o600); err != nil {
				s.t.Fatal(err)
			}
			cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthority, c.CertificateAuthorityData = file, nil })(s)
		}, finding: "identity", state: doctor.OK},
		{name: "through a proxy", arrange: func(s *setup) { s.options.Proxy = proxied }, finding: "server", state: doctor.OK,
			say: []string{"through the proxy http://u:xxxxx@proxy"}, not: []string{"Secret"}},
		{name: "through a proxy, and the steps to it", arrange: func(s *setup) { s.options.Proxy = proxied },
			finding: "tcp", state: doctor.NotChecked, say: []string{"go through a proxy"}},
		{name: "a proxy that is none", arrange: cluster(func(c *clientcmdapi.Cluster) { c.ProxyURL = "http://%zz" }),
			finding: "server", state: doctor.Failure, say: []string{"the proxy cannot be used"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// certificateCluster is a job whose context points where GitLab's own KUBE_URL does.
func certificateCluster(s *setup) {
	s.vars["KUBE_URL"], s.vars["KUBE_TOKEN"] = s.api.URL, "certificate-cluster"
}

func tunnelWithVariables(s *setup) {
	cluster(func(c *clientcmdapi.Cluster) { c.Server, c.CertificateAuthorityData = tunnel, nil })(s)
	s.vars["JOBGATE_URL"], s.vars["JOBGATE_CA_FILE"] = s.api.URL, string(s.api.ca())
}
