package main

import (
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"
)

const (
	agentID      = 4
	agentContext = "path/to/agent/project:agent-name"

	clusterName = "prod"
	// audience is what an ID token for this cluster names.
	audience    = "https://kubernetes.example.com"
	accessToken = "glpat-demoDemoDemoDemo1234"

	prodJob      = 1074499489
	neighbourJob = 1074499490
	stagingJob   = 1074499492
	featureJob   = 1074499493
	endingJob    = 1074499494
	// Jobs of the project that no agent lists.
	grantedJob = 1074499497
	outsideJob = 1074499498
	idTokenJob = 1074499499
	// For the reader who keeps the demo running.
	allowedJob    = 1074499495
	restrictedJob = 1074499496

	// freshFor is how long jobgate uses what GitLab has said. At four fifths of it jobgate asks again. It is half of the
	// default, so that the last scene takes less time.
	freshFor = 5 * time.Second
	recheck  = freshFor * 4 / 5
)

// newInstance is the GitLab of the demo: two projects of one group that share an agent.
func newInstance() gitlabtest.Instance {
	environments := []gitlabtest.Environment{{Name: "prod", Tier: "production"}, {Name: "staging"}}
	branches, protected := []string{"main", "feature"}, []string{"main"}
	const user = 9
	running := func(id, project int64, environment, branch string) gitlabtest.Job {
		return gitlabtest.Job{
			ID: id, Project: project, User: user, Status: "running", Environment: environment,
			Pipeline: gitlabtest.Pipeline{Ref: branch},
		}
	}
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups: []gitlabtest.Group{
			{ID: 23, Path: "path"}, {ID: 25, Parent: 23, Path: "path/to"}, {ID: 27, Parent: 25, Path: "path/to/agent"},
		},
		Projects: []gitlabtest.Project{
			{ID: 7, Group: 27, Path: "path/to/agent/project"},
			{
				ID: 150, Group: 25, Path: "path/to/project", Environments: environments,
				Branches: branches, ProtectedBranches: protected,
			},
			{
				ID: 151, Group: 25, Path: "path/to/other", Environments: environments,
				Branches: branches, ProtectedBranches: protected,
			},
			{
				ID: 152, Group: 25, Path: "path/to/third", Environments: environments,
				Branches: branches, ProtectedBranches: protected,
			},
		},
		Users:  []gitlabtest.User{{ID: user, Username: "jdoe", Access: map[int64]int{150: 30, 151: 30, 152: 30}}},
		Tokens: []gitlabtest.AccessToken{{Token: accessToken, User: user, Scopes: []string{"read_api"}}},
		Agents: []gitlabtest.Agent{{ID: agentID, Name: "agent-name", Project: 7, Config: `
ci_access:
  projects:
  - id: path/to/project
    access_as:
      ci_job: {}
  - id: path/to/other
    access_as:
      ci_job: {}
`}},
		Jobs: []gitlabtest.Job{
			running(prodJob, 150, "prod", "main"), running(neighbourJob, 151, "prod", "main"),
			running(stagingJob, 150, "staging", "main"), running(featureJob, 150, "prod", "feature"),
			running(endingJob, 150, "prod", "main"),
			running(grantedJob, 152, "prod", "main"), running(outsideJob, 152, "prod", "feature"), running(idTokenJob, 152, "prod", "main"),
			running(allowedJob, 150, "prod", "main"), running(restrictedJob, 150, "staging", "main"),
		},
	}
}

// configure gives jobgate the cluster's rules. tokenFile has its access token.
func configure(c *config.Configuration, tokenFile string) {
	c.Cache.FreshFor.Duration = freshFor
	c.GitLab.TokenFile = tokenFile
	c.Agents = []config.Agent{{ID: agentID, Name: agentContext}}
	c.Cluster.Name, c.IDTokens.Audience = clusterName, audience
	c.Grants = []policy.Grant{{
		Name: "third", Projects: []int64{152}, Require: policy.Requirements{Refs: []string{"main"}, RefTypes: []string{"branch"}},
	}}
	c.Restrictions = []policy.Restriction{
		{
			Name: "production", Namespaces: []string{"shop"}, Require: policy.Requirements{Environments: []string{"prod"}},
		},
		{
			Name: "releases", Namespaces: []string{"shop"}, Verbs: []string{"create", "update", "patch", "delete"},
			Require: policy.Requirements{ProtectedRef: true},
		},
	}
}
