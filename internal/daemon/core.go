package daemon

import (
	"fmt"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// core is what decides, wired: the parts that take a changed configuration.
type core struct {
	userAgent     string
	client        *gitlab.Client
	gitlabFiles   gitlabFiles
	gitlabMetrics *gitlab.Metrics
	idTokens      *idtoken.Source
	registry      *job.Registry
	authenticator *tokenreview.Authenticator
	authorizer    *authz.Authorizer
}

// newCore registers the parts' metrics, unless the registerer is nil.
func newCore(cfg *config.Configuration, userAgent string, decisions io.Writer, r prometheus.Registerer) (*core, error) {
	c := &core{userAgent: userAgent, gitlabMetrics: gitlab.NewMetrics(r)}
	var err error
	if c.gitlabFiles, err = readGitLabFiles(cfg); err != nil {
		return nil, err
	}
	if c.client, err = newClient(cfg, c.gitlabFiles, userAgent, c.gitlabMetrics); err != nil {
		return nil, err
	}
	p := compilePolicy(cfg)
	settings, err := registrySettings(cfg, p)
	if err != nil {
		return nil, err
	}
	c.idTokens = idtoken.New(idTokenConfig(cfg), c.client, r)
	if c.registry, err = job.NewRegistry(c.sources(), settings, r); err != nil {
		return nil, err
	}
	log := decision.NewLog(decisions, r)
	c.authenticator = tokenreview.New(c.registry, authentication(cfg, p, c.idTokens), log)
	c.authorizer = authz.New(c.registry, p, log, r)
	return c, nil
}

func (c *core) sources() job.Sources {
	return job.Sources{JobTokens: c.client, Facts: c.client, IDTokens: c.idTokens, Statuses: c.client}
}

// configure changes everything or nothing: what can fail comes first. Rules are in force before new agents and grants let
// jobs in, and the registry learns of new agents before the authenticator lets a job ask for them. sameGitLab is false while
// another GitLab waits for a restart: its access token must not be shown to this one.
func (c *core) configure(cfg *config.Configuration, sameGitLab bool) error {
	files, err := c.gitlabFiles, error(nil)
	if sameGitLab {
		files, err = readGitLabFiles(cfg)
	}
	if err != nil {
		return err
	}
	// A new client even for equal settings: the bundle may have changed, and a reload is rare.
	client, err := newClient(cfg, files, c.userAgent, c.gitlabMetrics)
	if err != nil {
		return err
	}
	p := compilePolicy(cfg)
	settings, err := registrySettings(cfg, p)
	if err != nil {
		return fmt.Errorf("apply the configuration: %w", err)
	}
	old := c.client
	c.client, c.gitlabFiles = client, files
	c.authorizer.Configure(p)
	c.idTokens.Configure(idTokenConfig(cfg), client)
	c.registry.Configure(c.sources(), settings)
	old.Close()
	c.authenticator.Configure(authentication(cfg, p, c.idTokens))
	return nil
}
