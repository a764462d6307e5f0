package controlplane

import (
	"fmt"
	"net"
	"net/url"
	"os"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/pkitest"
)

// WriteKubeconfig writes a kubeconfig with one context for a server that requires a client certificate: an API server,
// or a webhook as seen from an API server. All files are named by their paths.
func WriteKubeconfig(path, server, caFile string, client pkitest.Files) error {
	return writeKubeconfig(path, server, caFile, clientcmdv1.AuthInfo{
		ClientCertificate: client.Cert, ClientKey: client.Key,
	})
}

func writeKubeconfig(path, server, caFile string, user clientcmdv1.AuthInfo) error {
	const name = "e2e"
	text, err := yaml.Marshal(clientcmdv1.Config{
		APIVersion: "v1", Kind: "Config",
		Clusters: []clientcmdv1.NamedCluster{{Name: name, Cluster: clientcmdv1.Cluster{
			Server: server, CertificateAuthority: caFile,
		}}},
		AuthInfos: []clientcmdv1.NamedAuthInfo{{Name: name, AuthInfo: user}},
		Contexts: []clientcmdv1.NamedContext{{Name: name, Context: clientcmdv1.Context{
			Cluster: name, AuthInfo: name,
		}}},
		CurrentContext: name,
	})
	if err != nil {
		return fmt.Errorf("encode a kubeconfig: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write a kubeconfig: %w", err)
	}
	return nil
}

// WriteAdminKubeconfig writes the administrator's kubeconfig for the server.
func (s *APIServer) WriteAdminKubeconfig(path string) error {
	return WriteKubeconfig(path, s.URL, s.plane.caFile, s.plane.admin)
}

// WriteBearerKubeconfig writes the kubeconfig of a user who shows a bearer token to the server.
func (s *APIServer) WriteBearerKubeconfig(path, token string) error {
	return writeKubeconfig(path, s.URL, s.plane.caFile, clientcmdv1.AuthInfo{Token: token})
}

// WriteClientKubeconfig writes the kubeconfig of a user whose client certificate names the user and groups.
func (s *APIServer) WriteClientKubeconfig(path, user string, groups ...string) error {
	client, err := s.plane.IssueClient(user, groups...)
	if err != nil {
		return err
	}
	return WriteKubeconfig(path, s.URL, s.plane.caFile, client)
}

// portOf is the port of a loopback URL.
func portOf(raw string) (string, error) {
	parsed, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(parsed.Host)
	return port, err
}
