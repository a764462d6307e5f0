package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// Each package gets the few values it needs, and none the configuration itself.

func newSource(cfg *config.Configuration, m *gitlab.Metrics) (*gitlab.Client, error) {
	bundle, err := readIfNamed("gitlab.caFile", cfg.GitLab.CAFile)
	if err != nil {
		return nil, err
	}
	accessToken, err := readIfNamed("gitlab.tokenFile", cfg.GitLab.TokenFile)
	if err != nil {
		return nil, err
	}
	return gitlab.New(gitlab.Options{
		URL:               cfg.GitLab.URL,
		CABundle:          bundle,
		AccessToken:       string(accessToken),
		Timeout:           cfg.GitLab.Timeout.Duration,
		MaxInFlight:       cfg.GitLab.MaxInFlight,
		RequestsPerSecond: cfg.GitLab.RateLimit.RequestsPerSecond,
		Burst:             cfg.GitLab.RateLimit.Burst,
		UserAgent:         "jobgate/" + versionText(),
		Metrics:           m,
	})
}

func readIfNamed(key, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return content, nil
}

func jobSettings(cfg *config.Configuration) job.Settings {
	s := job.Settings{
		FreshFor:    cfg.Cache.FreshFor.Duration,
		StaleFor:    cfg.Cache.StaleFor.Duration,
		RejectedFor: cfg.Cache.RejectedFor.Duration,
		MaxJobs:     cfg.Cache.MaxJobs,
		MaxRejected: cfg.Cache.MaxRejected,
		Timeout:     cfg.GitLab.Timeout.Duration,
	}
	for _, a := range cfg.Agents {
		facts := factExtras(cfg, a.ID)
		s.Agents = append(s.Agents, job.ServedAgent{
			ID:                       a.ID,
			Needs:                    job.Needs{EnvironmentName: facts.Environment, Protection: facts.Ref},
			FiltersProtectedBranches: cfg.GitLab.FiltersProtectedBranches,
		})
	}
	return s
}

func authentication(cfg *config.Configuration) tokenreview.Config {
	c := tokenreview.Config{
		ExplainRejections:        cfg.ExplainRejections,
		FiltersProtectedBranches: cfg.GitLab.FiltersProtectedBranches,
	}
	for _, a := range cfg.Agents {
		c.Agents = append(c.Agents, tokenreview.Agent{
			ID:                      a.ID,
			ServiceAccountNamespace: a.ServiceAccount.Namespace,
			ServiceAccountName:      a.ServiceAccount.Name,
			Impersonate:             tokenreview.Allowed(a.Impersonate),
			FactExtras:              factExtras(cfg, a.ID),
		})
	}
	return c
}

// factExtras are the facts that the restrictions for an agent judge its jobs by.
//
// The environment's full name is among them even where every pattern is its own slug and could be proven by it: GitLab
// drops one trailing dash, so an environment called "production-" has the slug "production". A name that is known
// decides; the slug is for where it may not be learnt.
func factExtras(cfg *config.Configuration, agentID int64) (f tokenreview.FactExtras) {
	for _, r := range cfg.Restrictions {
		if len(r.Agents) > 0 && !slices.Contains(r.Agents, agentID) {
			continue
		}
		f.Environment = f.Environment || len(r.Require.Environments) > 0
		f.Ref = f.Ref || r.Require.ProtectedRef
		f.Groups = f.Groups || len(r.Require.Groups) > 0
		f.Roles = f.Roles || len(r.Require.Roles) > 0
	}
	return f
}

func authorization(cfg *config.Configuration) authz.Policy {
	p := authz.Policy{AgentNames: map[int64]string{}, FiltersProtectedBranches: cfg.GitLab.FiltersProtectedBranches}
	for _, a := range cfg.Agents {
		p.Agents = append(p.Agents, a.ID)
		p.AgentNames[a.ID] = a.Name
	}
	for _, r := range cfg.Restrictions {
		p.Restrictions = append(p.Restrictions, authz.Restriction{
			Name: r.Name, Agents: r.Agents, Namespaces: r.Namespaces, Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources,
			Require: authz.Requirements(r.Require),
		})
	}
	return p
}

func tlsFiles(cfg *config.Configuration) certs.Files {
	return certs.Files{
		Certificate: cfg.Serving.CertFile,
		Key:         cfg.Serving.KeyFile,
		ClientCA:    cfg.Serving.ClientCAFile,
		ClientNames: cfg.Serving.ClientNames,
	}
}
