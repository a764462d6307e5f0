package sandbox

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/pkitest"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

// StartJobgateWithPKI starts another jobgate, which owns the private CA in a directory and renews what that issued, as
// jobgate init sets it up. An API server that asks it gets its client certificate from there, too.
func (s *Sandbox) StartJobgateWithPKI(
	ctx context.Context, name string, r certs.Request, args ...string,
) (*Jobgate, *certs.PKI, error) {
	pki := certs.OpenPKI(filepath.Join(s.Dir, name+"-pki"))
	if _, err := pki.Issue(r); err != nil {
		return nil, nil, fmt.Errorf("issue the certificates of %s: %w", name, err)
	}
	file := func(name string) string { return filepath.Join(pki.Dir(), name) }
	j, err := s.StartJobgate(ctx, name, func(c *config.Configuration) {
		c.Serving.CertFile, c.Serving.KeyFile = file(certs.ServingFile), file(certs.ServingFile)
		c.Serving.ClientCAFile = file(certs.CAFile)
	}, append([]string{"--pki=" + pki.Dir()}, args...)...)
	if err != nil {
		return nil, nil, err
	}
	client := pkitest.Files{Cert: file(certs.ClientFile), Key: file(certs.ClientFile)}
	for path, url := range map[string]string{
		j.webhooks.authenticate: j.URL + "/authenticate", j.webhooks.authorize: j.URL + "/authorize",
	} {
		if err := controlplane.WriteKubeconfig(path, url, file(certs.CAFile), client); err != nil {
			return nil, nil, err
		}
	}
	return j, pki, nil
}
