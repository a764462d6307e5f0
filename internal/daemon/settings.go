package daemon

import (
	"encoding/json"
	"fmt"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

// Each package gets the few values that it needs, and none the configuration itself.

// GitLab makes a client of the configuration's GitLab, and reads the files that are named for it. The metrics may be nil.
func GitLab(cfg *config.Configuration, userAgent string, m *gitlab.Metrics) (*gitlab.Client, error) {
	files, err := readGitLabFiles(cfg)
	if err != nil {
		return nil, err
	}
	return newClient(cfg, files, userAgent, m)
}

// gitlabFiles are what stands in the files that are named for GitLab. They belong to one GitLab.
type gitlabFiles struct{ bundle, accessToken []byte }

func readGitLabFiles(cfg *config.Configuration) (files gitlabFiles, err error) {
	if files.bundle, err = readIfNamed("gitlab.caFile", cfg.GitLab.CAFile); err != nil {
		return files, err
	}
	files.accessToken, err = readIfNamed("gitlab.tokenFile", cfg.GitLab.TokenFile)
	return files, err
}

func newClient(cfg *config.Configuration, files gitlabFiles, userAgent string, m *gitlab.Metrics) (*gitlab.Client, error) {
	agents := make([]int64, 0, len(cfg.Agents))
	for _, a := range cfg.Agents {
		agents = append(agents, a.ID)
	}
	return gitlab.New(gitlab.Options{
		URL:               cfg.GitLab.URL,
		CABundle:          files.bundle,
		AccessToken:       string(files.accessToken),
		Agents:            agents,
		Timeout:           cfg.GitLab.Timeout.Duration,
		MaxInFlight:       cfg.GitLab.MaxInFlight,
		RequestsPerSecond: cfg.GitLab.RateLimit.RequestsPerSecond,
		Burst:             cfg.GitLab.RateLimit.Burst,
		UserAgent:         userAgent,
		Metrics:           m,
	})
}

func readIfNamed(key, name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	content, err := file.Read(name, config.MaxNamedFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return content, nil
}

func compilePolicy(cfg *config.Configuration) *policy.Policy {
	r := policy.Rules{
		Cluster:                  cfg.Cluster.Name,
		Grants:                   cfg.Grants,
		Restrictions:             cfg.Restrictions,
		Blocked:                  cfg.Blocked,
		ExtraFacts:               cfg.Facts(),
		FiltersProtectedBranches: cfg.GitLab.FiltersProtectedBranches,
	}
	for _, a := range cfg.Agents {
		r.Agents = append(r.Agents, policy.Agent{ID: a.ID, Name: a.Name})
	}
	return policy.Compile(r)
}

func registrySettings(cfg *config.Configuration, p *policy.Policy) (job.Settings, error) {
	// What GitLab's answers were cut down to, and what was asked for besides, follows from these.
	revision, err := json.Marshal([]any{cfg.Agents, cfg.Grants, cfg.Restrictions, cfg.ExtraFacts, cfg.GitLab.FiltersProtectedBranches})
	if err != nil {
		return job.Settings{}, fmt.Errorf("encode the rules: %w", err)
	}
	return job.Settings{
		FreshFor:    cfg.Cache.FreshFor.Duration,
		StaleFor:    cfg.Cache.StaleFor.Duration,
		RejectedFor: cfg.Cache.RejectedFor.Duration,
		MaxJobs:     cfg.Cache.MaxJobs,
		MaxRejected: cfg.Cache.MaxRejected,
		Timeout:     cfg.GitLab.Timeout.Duration,
		Needs:       p.Needs,
		Revision:    string(revision),

		RequireLiveness: cfg.IDTokens.RequireLiveness,
	}, nil
}

func authentication(cfg *config.Configuration, p *policy.Policy, tokens *idtoken.Source) tokenreview.Config {
	c := tokenreview.Config{Policy: p, ExplainRejections: cfg.ExplainRejections}
	if cfg.IDTokens.Audience != "" {
		c.IDTokens = tokens
	}
	for _, a := range cfg.Agents {
		c.Agents = append(c.Agents, tokenreview.Agent{
			ID:                      a.ID,
			ServiceAccountNamespace: a.ServiceAccount.Namespace,
			ServiceAccountName:      a.ServiceAccount.Name,
			Impersonate:             a.Impersonate,
		})
	}
	return c
}

func idTokenConfig(cfg *config.Configuration) idtoken.Config {
	c := idtoken.Config{
		URL:             cfg.GitLab.URL,
		Issuer:          cfg.IDTokens.Issuer,
		Audience:        cfg.IDTokens.Audience,
		RequireLiveness: cfg.IDTokens.RequireLiveness,
	}
	if c.Issuer == "" {
		c.Issuer = cfg.GitLab.URL
	}
	return c
}

func tlsFiles(cfg *config.Configuration) certs.Files {
	return certs.Files{
		Certificate: cfg.Serving.CertFile,
		Key:         cfg.Serving.KeyFile,
		ClientCA:    cfg.Serving.ClientCAFile,
		ClientNames: cfg.Serving.ClientNames,
	}
}
