package sandbox

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

// recommendation is the AuthorizationConfiguration that jobgate ships, as a path in the repository.
// recommendedKubeconfig is the one part of it that differs between machines.
const (
	recommendation        = "manifests/authorization-configuration.yaml"
	recommendedKubeconfig = "/etc/kubernetes/jobgate/authorize.kubeconfig"
)

// webhookFiles tell an API server where a jobgate is.
type webhookFiles struct {
	authenticate  string // a kubeconfig
	authorize     string // a kubeconfig
	authorization string // an AuthorizationConfiguration that names it
}

// APIServer are the options of an API server that asks this jobgate as the README says.
func (j *Jobgate) APIServer(name string) controlplane.APIServerOptions {
	return controlplane.APIServerOptions{
		Name: name,
		TokenWebhook: &controlplane.TokenWebhook{
			ConfigFile: j.webhooks.authenticate, Version: "v1", CacheTTL: webhookCacheTTL,
		},
		AuthorizationConfig: j.webhooks.authorization,
	}
}

// LegacyAPIServer are the options of an API server that asks this jobgate by flags alone, in the versions that are the
// flags' defaults. It asks about every request, and RBAC decides when jobgate does not answer.
func (j *Jobgate) LegacyAPIServer(name string) controlplane.APIServerOptions {
	return controlplane.APIServerOptions{
		Name: name,
		TokenWebhook: &controlplane.TokenWebhook{
			ConfigFile: j.webhooks.authenticate, Version: "v1beta1", CacheTTL: webhookCacheTTL,
		},
		AuthorizationMode: "Webhook,RBAC",
		ExtraArgs: []string{
			"--authorization-webhook-config-file=" + j.webhooks.authorize,
			"--authorization-webhook-version=v1beta1", "--authorization-webhook-cache-unauthorized-ttl=1s",
		},
	}
}

// LongMemory makes the API server remember for a day who a token is, so that only the authorizer can end a login.
func LongMemory(o controlplane.APIServerOptions) controlplane.APIServerOptions {
	o.TokenWebhook.CacheTTL = 24 * time.Hour
	return o
}

func (s *Sandbox) writeWebhookFiles(dir, url string) (webhookFiles, error) {
	files := webhookFiles{
		authenticate:  filepath.Join(dir, "authenticate.kubeconfig"),
		authorize:     filepath.Join(dir, "authorize.kubeconfig"),
		authorization: filepath.Join(dir, "authorization.yaml"),
	}
	client, err := s.webhookCA.IssueClient(dir, WebhookClient)
	if err != nil {
		return files, err
	}
	for path, server := range map[string]string{
		files.authenticate: url + "/authenticate",
		files.authorize:    url + "/authorize",
	} {
		if err := controlplane.WriteKubeconfig(path, server, s.webhookCAFile, client); err != nil {
			return files, err
		}
	}
	return files, s.writeAuthorization(files)
}

// writeAuthorization writes the recommended AuthorizationConfiguration with the kubeconfig of this run.
func (s *Sandbox) writeAuthorization(files webhookFiles) error {
	text, err := os.ReadFile(filepath.Join(s.options.Binaries.Repository, recommendation))
	if err != nil {
		return fmt.Errorf("read the recommended AuthorizationConfiguration: %w", err)
	}
	if n := bytes.Count(text, []byte(recommendedKubeconfig)); n != 1 {
		return fmt.Errorf("%s names %s %d times, not once", recommendation, recommendedKubeconfig, n)
	}
	text = bytes.Replace(text, []byte(recommendedKubeconfig), []byte(files.authorize), 1)
	if err := os.WriteFile(files.authorization, text, 0o600); err != nil {
		return fmt.Errorf("write an AuthorizationConfiguration: %w", err)
	}
	return nil
}

// WebhookTLS is the TLS configuration of a client that trusts jobgate. With a name, the client shows a certificate of that
// name from jobgate's own authority.
func (s *Sandbox) WebhookTLS(name string) (*tls.Config, error) {
	configuration := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.webhookCA.Pool()}
	if name == "" {
		return configuration, nil
	}
	files, err := s.webhookCA.IssueClient(s.Dir, name)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load a client certificate: %w", err)
	}
	configuration.Certificates = []tls.Certificate{certificate}
	return configuration, nil
}
