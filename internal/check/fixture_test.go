package check_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/check"
	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/install"
)

const nodeDir = "/etc/kubernetes/jobgate"

// node is a control-plane node with a jobgate that runs, and an API server that relays reviews to it.
type node struct {
	root   string
	gitlab *gitlabtest.Server
	// answer is what the API server says of a review instead of asking jobgate, by the end of its path; "": it asks.
	answer map[string]string
}

func (n *node) path(name string) string { return filepath.Join(n.root, name) }

func (n *node) dir() string { return n.path(nodeDir) }

// newNode makes a node of which everything is right, and starts jobgate.
func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{root: t.TempDir(), answer: map[string]string{}}
	n.gitlab = gitlabtest.New(t, gitlabtest.Instance{
		Users: []gitlabtest.User{{ID: 9, Username: "bot"}},
		Tokens: []gitlabtest.AccessToken{
			{Token: "glpat-good", User: 9, Scopes: []string{"read_api"}},
			{Token: "glpat-registry", User: 9, Scopes: []string{"read_registry"}},
		},
	})
	if _, err := certs.OpenPKI(filepath.Join(n.dir(), install.PKIDir)).Issue(certs.Request{}); err != nil {
		t.Fatal(err)
	}
	files, err := install.Common(install.Options{
		NodeDir: nodeDir, GitLabURL: n.gitlab.URL(), Agents: []install.Agent{{ID: 4, Name: "group/project:four"}},
		Address: freeAddress(t), HealthAddress: freeAddress(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		n.write(t, filepath.Join(nodeDir, f.Path), string(f.Content))
	}
	n.writeManifest(t, install.APIServerFlags(nodeDir)...)
	n.startJobgate(t)
	n.startAPIServer(t)
	return n
}

func (n *node) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(n.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text in a file.
func (n *node) edit(t *testing.T, name, before, after string) {
	t.Helper()
	text, err := os.ReadFile(n.path(name))
	if err != nil || !strings.Contains(string(text), before) {
		t.Fatalf("%s lacks %q (%v)", name, before, err)
	}
	n.write(t, name, strings.ReplaceAll(string(text), before, after))
}

func (n *node) writeManifest(t *testing.T, flags ...install.Flag) {
	t.Helper()
	text := "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: kube-apiserver\n    command:\n    - kube-apiserver\n"
	for _, f := range flags {
		text += "    - " + f.String() + "\n"
	}
	n.write(t, "/etc/kubernetes/manifests/kube-apiserver.yaml", text)
}

// verifiesItself gives kube-apiserver structured authentication instead of jobgate's webhook for tokens.
func (n *node) verifiesItself(t *testing.T, issuer string, webhook ...install.Flag) {
	t.Helper()
	n.write(t, authentication, "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer: {url: '"+issuer+"'}\n")
	flags := append(webhook, install.Flag{Name: "authentication-config", Value: authentication})
	for _, f := range install.APIServerFlags(nodeDir) {
		if f.Name == install.AuthorizersFlag {
			flags = append(flags, f)
		}
	}
	n.writeManifest(t, flags...)
}

func (n *node) startJobgate(t *testing.T) {
	t.Helper()
	d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: filepath.Join(n.dir(), install.ConfigFile), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	eventually.Succeeds(t, func() error {
		if found := n.run(t).Findings[2]; found.State != findings.OK {
			return fmt.Errorf("%s", found.What)
		}
		return nil
	})
}

// startAPIServer serves the two kinds of reviews, and asks jobgate with the certificates of the node.
func (n *node) startAPIServer(t *testing.T) {
	t.Helper()
	pki := filepath.Join(n.dir(), install.PKIDir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(pki, certs.ClientFile), filepath.Join(pki, certs.ClientFile))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := os.ReadFile(filepath.Join(pki, certs.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}}}
	t.Cleanup(client.CloseIdleConnections)
	text, err := os.ReadFile(filepath.Join(n.dir(), install.AuthenticateFile))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "    server: ")
	jobgate, _, _ := strings.Cut(after, "/authenticate")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoint := map[string]string{"tokenreviews": "/authenticate", "subjectaccessreviews": "/authorize"}[filepath.Base(r.URL.Path)]
		w.Header().Set("Content-Type", "application/json")
		if answer := n.answer[endpoint]; answer != "" {
			_, _ = io.WriteString(w, answer)
			return
		}
		request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, jobgate+endpoint, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer response.Body.Close()
		if response.StatusCode == http.StatusOK {
			_, _ = io.Copy(w, response.Body)
			return
		}
		// As kube-apiserver does, which hands the error of its webhook to who asks.
		var status metav1.Status
		_ = json.NewDecoder(response.Body).Decode(&status)
		_ = json.NewEncoder(w).Encode(authenticationv1.TokenReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
			Status:   authenticationv1.TokenReviewStatus{Error: status.Message},
		})
	}))
	t.Cleanup(server.Close)
	n.write(t, "/etc/kubernetes/admin.conf", "apiVersion: v1\nkind: Config\ncurrent-context: admin\n"+
		"contexts: [{name: admin, context: {cluster: here}}]\nclusters: [{name: here, cluster: {server: "+server.URL+"}}]\n")
}

func (n *node) run(t *testing.T) *findings.List {
	t.Helper()
	return check.Run(t.Context(), check.Options{
		ConfigFile: filepath.Join(n.dir(), install.ConfigFile), PKI: filepath.Join(n.dir(), install.PKIDir), Root: n.root, UserAgent: "test",
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (n *node) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(n.path(name)); err != nil {
		t.Fatal(err)
	}
}

func (n *node) chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(n.path(name), mode); err != nil {
		t.Fatal(err)
	}
}
