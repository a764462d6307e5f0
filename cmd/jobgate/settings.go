package main

import (
	"fmt"
	"os"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// Each package gets the few values it needs, and none the configuration itself.

func newSource(cfg *config.Configuration, m *gitlab.Metrics) (*gitlab.Client, error) {
	var bundle []byte
	if cfg.GitLab.CAFile != "" {
		var err error
		if bundle, err = os.ReadFile(cfg.GitLab.CAFile); err != nil {
			return nil, fmt.Errorf("read gitlab.caFile: %w", err)
		}
	}
	return gitlab.New(gitlab.Options{
		URL:               cfg.GitLab.URL,
		CABundle:          bundle,
		Timeout:           cfg.GitLab.Timeout.Duration,
		MaxInFlight:       cfg.GitLab.MaxInFlight,
		RequestsPerSecond: cfg.GitLab.RateLimit.RequestsPerSecond,
		Burst:             cfg.GitLab.RateLimit.Burst,
		UserAgent:         "jobgate/" + versionText(),
		Metrics:           m,
	})
}

func jobSettings(cfg *config.Configuration) job.Settings {
	s := job.Settings{
		FreshFor:    cfg.Cache.FreshFor.Duration,
		StaleFor:    cfg.Cache.StaleFor.Duration,
		RejectedFor: cfg.Cache.RejectedFor.Duration,
		MaxJobs:     cfg.Cache.MaxJobs,
		MaxRejected: cfg.Cache.MaxRejected,
	}
	for _, a := range cfg.Agents {
		s.Agents = append(s.Agents, a.ID)
	}
	return s
}

func agents(cfg *config.Configuration) []tokenreview.Agent {
	var all []tokenreview.Agent
	for _, a := range cfg.Agents {
		all = append(all, tokenreview.Agent{
			ID:                      a.ID,
			ServiceAccountNamespace: a.ServiceAccount.Namespace,
			ServiceAccountName:      a.ServiceAccount.Name,
			Impersonate:             tokenreview.Allowed(a.Impersonate),
		})
	}
	return all
}

func tlsFiles(cfg *config.Configuration) certs.Files {
	return certs.Files{
		Certificate: cfg.Serving.CertFile,
		Key:         cfg.Serving.KeyFile,
		ClientCA:    cfg.Serving.ClientCAFile,
		ClientNames: cfg.Serving.ClientNames,
	}
}
