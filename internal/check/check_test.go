package check_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/check"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/install"
)

const (
	configFile    = nodeDir + "/" + install.ConfigFile
	authorization = nodeDir + "/" + install.AuthorizationFile
	authenticate  = nodeDir + "/" + install.AuthenticateFile
	// authentication is kube-apiserver's AuthenticationConfiguration.
	authentication = nodeDir + "/authentication.yaml"
)

func text(f findings.Finding) string {
	return f.What + "\n" + strings.Join(f.Details, "\n") + "\n" + f.Do
}

func TestRun_AllIsWell(t *testing.T) {
	n := newNode(t)
	n.write(t, nodeDir+"/token", "glpat-good\n")
	n.edit(t, configFile, "gitlab:\n", "gitlab:\n  tokenFile: token\n")
	r := n.run(t)
	says := map[string]string{
		"configuration": "1 agents, 0 grants, 0 restrictions",
		"certificates":  "are valid",
		"jobgate":       "is ready",
		"gitlab":        "is GitLab 19.6.0",
		"access-token":  "with the scopes read_api",
		"apiserver":     "jobgate comes before RBAC",
		"connection":    "both ends trust each other",
		"login":         "GitLab knows no running job with the token for agent 4",
		"requests":      "jobgate: ",
	}
	for _, f := range r.Findings {
		// The test's GitLab has plain HTTP, of which the configuration warns.
		if f.Name == "configuration" && f.State == findings.Warning && strings.Contains(text(f), "allowPlainHTTP") {
			continue
		}
		if f.State != findings.OK || !strings.Contains(f.What, says[f.Name]) {
			t.Errorf("%s: %s: %s", f.Name, f.State, text(f))
		}
	}
	if len(r.Findings) != len(says) || r.State == findings.Failure {
		t.Errorf("%d findings, state %s", len(r.Findings), r.State)
	}
}

func TestRun_Faults(t *testing.T) {
	flags := install.APIServerFlags(nodeDir)
	rows := []struct {
		name    string
		fault   func(*testing.T, *node)
		finding string
		state   findings.State
		says    string
	}{
		{name: "a configuration that is not valid", finding: "configuration", state: findings.Failure, says: "cahce: unknown key",
			fault: func(t *testing.T, n *node) {
				n.edit(t, configFile, "kind: Configuration\n", "kind: Configuration\ncahce: {}\n")
			}},
		{name: "a second instance that does not run", finding: "jobgate", state: findings.Warning, says: "the second one is not ready",
			fault: func(t *testing.T, n *node) { n.edit(t, configFile, "serving:\n", "serving:\n  reusePort: true\n") }},
		{name: "another address", finding: "jobgate", state: findings.Failure, says: "nothing answers with TLS",
			fault: func(t *testing.T, n *node) { n.edit(t, configFile, "  address: ", "  address: "+freeAddress(t)+" # ") }},
		{name: "a certificate that jobgate does not have", finding: "jobgate", state: findings.Failure, says: "another certificate is shown",
			fault: func(t *testing.T, n *node) {
				if _, err := certs.OpenPKI(n.path(nodeDir + "/other")).Issue(certs.Request{}); err != nil {
					t.Fatal(err)
				}
				n.edit(t, configFile, "pki/serving.pem", "other/serving.pem")
			}},
		{name: "a GitLab that does not answer", finding: "gitlab", state: findings.Failure, says: "/api/v4/version",
			fault: func(_ *testing.T, n *node) { n.gitlab.Close() }},
		{name: "a GitLab that does not answer, and a login", finding: "login", state: findings.Failure, says: "could not ask GitLab",
			fault: func(_ *testing.T, n *node) { n.gitlab.Close() }},
		{name: "an access token without read_api", finding: "access-token", state: findings.Failure, says: "read_registry, and not read_api",
			fault: func(t *testing.T, n *node) {
				n.write(t, nodeDir+"/token", "glpat-registry\n")
				n.edit(t, configFile, "gitlab:\n", "gitlab:\n  tokenFile: token\n")
			}},
		{name: "an access token that GitLab does not know", finding: "access-token", state: findings.Failure, says: "does not accept the access token",
			fault: func(t *testing.T, n *node) {
				n.write(t, nodeDir+"/token", "glpat-unknown\n")
				n.edit(t, configFile, "gitlab:\n", "gitlab:\n  tokenFile: token\n")
			}},
		{name: "kube-apiserver without flags", finding: "apiserver", state: findings.Failure, says: "--authorization-config is not set",
			fault: func(t *testing.T, n *node) { n.writeManifest(t) }},
		{name: "kube-apiserver with a long cache", finding: "apiserver", state: findings.Warning, says: "is 2m0s",
			fault: func(t *testing.T, n *node) { n.writeManifest(t, flags[0], flags[1], flags[3]) }},
		{name: "kube-apiserver verifies another issuer's ID tokens", finding: "apiserver", state: findings.Failure, says: "does not know any job",
			fault: func(t *testing.T, n *node) { n.verifiesItself(t, "https://gitlab.com") }},
		{name: "an AuthenticationConfiguration that is not there", finding: "apiserver", state: findings.Failure, says: "no such file",
			fault: func(t *testing.T, n *node) {
				n.verifiesItself(t, n.gitlab.URL())
				n.remove(t, authentication)
			}},
		{name: "no kube-apiserver on the node", finding: "apiserver", state: findings.NotChecked, says: "no static pod or process",
			fault: func(t *testing.T, n *node) { n.remove(t, "/etc/kubernetes/manifests/kube-apiserver.yaml") }},
		{name: "an authorizer before jobgate", finding: "apiserver", state: findings.Failure, says: "comes before jobgate",
			fault: func(t *testing.T, n *node) {
				n.edit(t, authorization, "authorizers:\n", "authorizers:\n- {type: AlwaysAllow, name: all}\n")
			}},
		{name: "a jobgate that may be away", finding: "apiserver", state: findings.Warning, says: "failurePolicy",
			fault: func(t *testing.T, n *node) {
				n.edit(t, authorization, "failurePolicy: Deny", "failurePolicy: NoOpinion")
			}},
		{name: "a kubeconfig for another port", finding: "apiserver", state: findings.Failure, says: "the server is https://127.0.0.1:1/authenticate",
			fault: func(t *testing.T, n *node) {
				n.edit(t, authenticate, "server: https://", "server: https://127.0.0.1:1/authenticate # ")
			}},
		{name: "ends that do not trust each other", finding: "connection", state: findings.Failure, says: "certificate",
			fault: func(t *testing.T, n *node) {
				n.edit(t, authenticate, "    client-certificate: ", "    # ")
				n.edit(t, authenticate, "    client-key: ", "    # ")
				n.edit(t, authenticate, "  user:\n", "  user: {}\n")
			}},
		{name: "an API server that does not ask about tokens", finding: "login", state: findings.Failure, says: "without jobgate's reason",
			fault: func(_ *testing.T, n *node) {
				n.answer["/authenticate"] = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","status":{"error":"invalid bearer token"}}`
			}},
		{name: "an API server that accepts any token", finding: "login", state: findings.Failure, says: `a made-up token as "root"`,
			fault: func(_ *testing.T, n *node) {
				n.answer["/authenticate"] = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1",` +
					`"status":{"authenticated":true,"user":{"username":"root"}}}`
			}},
		{name: "an API server that does not ask about requests", finding: "requests", state: findings.Failure, says: "does not ask jobgate",
			fault: func(_ *testing.T, n *node) {
				n.answer["/authorize"] = `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":false}}`
			}},
		{name: "an API server that allows", finding: "requests", state: findings.Failure, says: "allows a request",
			fault: func(_ *testing.T, n *node) {
				n.answer["/authorize"] = `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`
			}},
		{name: "no kubeconfig", finding: "login", state: findings.Warning, says: "--kubeconfig",
			fault: func(t *testing.T, n *node) { n.remove(t, "/etc/kubernetes/admin.conf") }},
		{name: "a key that others may read", finding: "certificates", state: findings.Failure, says: "chmod",
			fault: func(t *testing.T, n *node) { n.chmod(t, nodeDir+"/pki/client.pem", 0o644) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			row.fault(t, n)
			for _, f := range n.run(t).Findings {
				if f.Name != row.finding {
					continue
				}
				if f.State != row.state || !strings.Contains(text(f), row.says) {
					t.Errorf("%s: %s", f.State, text(f))
				}
				if f.State != findings.NotChecked && f.Do == "" {
					t.Error("it does not say what to do")
				}
			}
		})
	}
}

// kube-apiserver needs no webhook for tokens where it verifies GitLab's ID tokens; another webhook than jobgate may stay.
func TestRun_StructuredAuthentication(t *testing.T) {
	rows := []struct {
		name    string
		webhook []install.Flag
	}{
		{name: "no webhook"},
		{name: "another webhook", webhook: []install.Flag{{Name: install.WebhookFileFlag, Value: "/etc/kubernetes/other.conf"}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t)
			n.write(t, "/etc/kubernetes/other.conf", "apiVersion: v1\nkind: Config\ncurrent-context: x\n"+
				"contexts: [{name: x, context: {cluster: x}}]\nclusters: [{name: x, cluster: {server: 'https://127.0.0.1:1/authenticate'}}]\n")
			n.verifiesItself(t, n.gitlab.URL(), row.webhook...)
			says := map[string]string{
				"apiserver": "verifies GitLab's ID tokens by itself", "connection": "both ends trust each other",
				"login": "does not ask jobgate about tokens", "requests": "jobgate: ",
			}
			for _, f := range n.run(t).Findings {
				if f.State == findings.Failure || !strings.Contains(f.What, says[f.Name]) {
					t.Errorf("%s: %s: %s", f.Name, f.State, text(f))
				}
			}
		})
	}
}

// Who renews the certificates looks at once whether all is well. jobgate takes them over a moment later.
func TestRun_RightAfterARenewal(t *testing.T) {
	n := newNode(t)
	if _, err := certs.OpenPKI(n.path(nodeDir + "/pki")).Renew(true); err != nil {
		t.Fatal(err)
	}
	if f := n.run(t).Findings[2]; f.State != findings.OK {
		t.Errorf("%s: %s", f.State, text(f))
	}
}

// Without a configuration nothing can be asked, and the report says so.
func TestRun_NoConfiguration(t *testing.T) {
	r := check.Run(t.Context(), check.Options{ConfigFile: filepath.Join(t.TempDir(), "none.yaml"), Root: t.TempDir()})
	if r.State != findings.Failure || r.Findings[0].State != findings.Failure {
		t.Errorf("%+v", r)
	}
	for _, f := range r.Findings[1:] {
		if f.State != findings.NotChecked {
			t.Errorf("%s: %s: %s", f.Name, f.State, f.What)
		}
	}
}

// A job's token is not asked for, and what the check itself sends shows no secret of GitLab's.
func TestRun_ShowsNoSecret(t *testing.T) {
	n := newNode(t)
	n.write(t, nodeDir+"/token", "glpat-registry\n")
	n.edit(t, configFile, "gitlab:\n", "gitlab:\n  tokenFile: token\n")
	n.gitlab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Status: 401, EchoToken: true})
	for _, f := range n.run(t).Findings {
		if strings.Contains(text(f), "glpat") {
			t.Errorf("%s shows the access token: %s", f.Name, text(f))
		}
	}
}
