package e2e_test

import (
	"fmt"
	"strings"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"
)

// The part of GitLab that the tests of authorization use. Its jobs may do what testdata/authorization.yaml says, by
// RBAC, so that what they may not do is jobgate's decision.
const (
	shopProject       = 160 // path/to/shop, in groups 25 and 23
	projectOne        = 161 // with the next three, the example of GitLab's page on environments
	projectTwo        = 162
	groupOne          = 31
	projectOfGroupOne = 163
	exampleGroup      = 40 // with the next three, the example of GitLab's page on protected branches
	exampleAgents     = 170
	myProject         = 171
	exampleNeighbour  = 172
	forgerProject     = 180 // its environment is called like the slug of another project's

	maintainer = 10 // of path/to/shop; the developer is one there, too
	reader     = 11 // owns jobgate's access token, and may read path/to/shop and path/to/project
	stranger   = 12 // owns another one, and may read nothing
)

// slugOfEUProd is what GitLab makes of the name eu/prod. Any project can have an environment with that very name.
const slugOfEUProd = "eu-prod-lb01nz"

// Access tokens for jobgate, by their owners.
const (
	readerToken   = "glpat-readerReaderReader01"
	strangerToken = "glpat-strangerStranger02ab"
)

// The agents. Each has one ci_access entry or one set of restrictions, and its jobs are ci_job unless it says
// otherwise.
const (
	openAgent         = 101 + iota // requires nothing, and no restriction concerns it
	stagingAgent                   // environments: [staging]
	reviewAgent                    // environments: [review/*]
	anyEnvAgent                    // environments: ["*"]
	prodAgent                      // environments: ["prod*"]
	blankAgent                     // environments: ["", staging]
	onlyBlankAgent                 // environments: [""]
	pageAgent                      // the page's example on environments
	myAgent                        // the page's example on protected branches
	protectedAgent                 // protected_branches_only: true
	protectedEnvAgent              // and environments: [production]
	requiringAgent                 // one restriction for each requirement
	filteringAgent                 // one restriction for each filter
	starAgent                      // a restriction with a star in each list
	wholeAgent                     // a restriction on everything
	clusterAgent                   // a restriction on all resources, without namespaces
	removedAgent                   // is taken away from the project
	narrowedAgent                  // is narrowed to another environment
	tightenedAgent                 // is tightened to a pattern that GitLab reads more widely than jobgate
	bareShopAgent                  // access_as: agent
	staticAgent                    // access_as: impersonate
	lastAgent
)

func addAuthorization(w *gitlabtest.Instance) {
	w.Groups = append(w.Groups,
		gitlabtest.Group{ID: groupOne, Parent: innerGroup, Path: "path/to/group-1"},
		gitlabtest.Group{ID: exampleGroup, Path: "example"})
	w.Projects = append(w.Projects,
		shopLike(shopProject, innerGroup, "path/to/shop"),
		shopLike(projectOne, innerGroup, "path/to/project-1"),
		shopLike(projectTwo, innerGroup, "path/to/project-2"),
		shopLike(projectOfGroupOne, groupOne, "path/to/group-1/project-3"),
		gitlabtest.Project{ID: exampleAgents, Group: exampleGroup, Path: "example/agents"},
		shopLike(myProject, exampleGroup, "example/my-project"),
		shopLike(exampleNeighbour, exampleGroup, "example/neighbour"),
		gitlabtest.Project{
			ID: forgerProject, Group: innerGroup, Path: "path/to/forger",
			Environments: []gitlabtest.Environment{{Name: slugOfEUProd, Tier: "production"}},
		})
	for i := range w.Users {
		if w.Users[i].ID != developer {
			continue
		}
		for _, p := range []int64{
			shopProject, projectOne, projectTwo, projectOfGroupOne, myProject, exampleNeighbour, forgerProject,
		} {
			w.Users[i].Access[p] = 30
		}
	}
	w.Users = append(w.Users,
		gitlabtest.User{ID: maintainer, Username: "mmaint", Access: map[int64]int{shopProject: 40}},
		gitlabtest.User{ID: reader, Username: "jobgate", Access: map[int64]int{shopProject: 20, project: 20}},
		gitlabtest.User{ID: stranger, Username: "stranger"})
	w.Tokens = append(w.Tokens,
		gitlabtest.AccessToken{Token: readerToken, User: reader, Scopes: []string{"read_api"}},
		gitlabtest.AccessToken{Token: strangerToken, User: stranger, Scopes: []string{"read_api"}})
	w.Agents = append(w.Agents, authorizationAgents()...)
}

// shopLike is a project with every environment and ref that the tests name.
func shopLike(id, group int64, path string) gitlabtest.Project {
	p := gitlabtest.Project{
		ID: id, Group: group, Path: path,
		Branches: []string{"main", "feature"}, ProtectedBranches: []string{"main"},
		Tags: []string{"v1.0", "nightly"}, ProtectedTags: []string{"v*"},
	}
	for _, name := range []string{
		"staging", "review/1", "my-review/1", "prod", "preprod", "production", "eu/prod", "dev",
	} {
		p.Environments = append(p.Environments, gitlabtest.Environment{Name: name})
	}
	return p
}

func authorizationAgents() []gitlabtest.Agent {
	shop := func(more ...string) string { return entry("path/to/shop", "{ci_job: {}}", more...) }
	configs := map[int64]string{
		openAgent:         shop(),
		stagingAgent:      shop("environments: [staging]"),
		reviewAgent:       shop("environments: [review/*]"),
		anyEnvAgent:       shop(`environments: ["*"]`),
		prodAgent:         shop(`environments: ["prod*"]`),
		blankAgent:        shop(`environments: ["", staging]`),
		onlyBlankAgent:    shop(`environments: [""]`),
		pageAgent:         pageOnEnvironments,
		myAgent:           pageOnProtectedBranches,
		protectedAgent:    shop("protected_branches_only: true"),
		protectedEnvAgent: shop("protected_branches_only: true", "environments: [production]"),
		requiringAgent:    agentConfig("{ci_job: {}}", "path/to/shop", "path/to/project-1", "path/to/group-1/project-3", "path/to/forger"),
		bareShopAgent:     entry("path/to/shop", "{agent: {}}"),
		staticAgent:       entry("path/to/shop", "{impersonate: {username: static-bot}}"),
	}
	var agents []gitlabtest.Agent
	for id := int64(openAgent); id < lastAgent; id++ {
		a := gitlabtest.Agent{ID: id, Name: fmt.Sprintf("agent-%d", id), Project: agentsProject, Config: shop()}
		if text, ok := configs[id]; ok {
			a.Config = text
		}
		if id == myAgent {
			a.Project = exampleAgents
		}
		agents = append(agents, a)
	}
	return agents
}

func entry(project, accessAs string, more ...string) string {
	return agentConfig(accessAs, project) + "    " + strings.Join(more, "\n    ") + "\n"
}

// pageOnEnvironments is the example of GitLab's page, with access_as: ci_job.
const pageOnEnvironments = `
ci_access:
  projects:
    - id: path/to/project-1
      access_as: {ci_job: {}}
    - id: path/to/project-2
      access_as: {ci_job: {}}
      environments:
        - staging
        - review/*
  groups:
    - id: path/to/group-1
      access_as: {ci_job: {}}
      environments:
        - production
`

// pageOnProtectedBranches is the example of GitLab's page, with access_as: ci_job, and with projects where the page has
// project, which GitLab does not know.
const pageOnProtectedBranches = `
ci_access:
  projects:
    - id: example/my-project # Project of the group below
      access_as: {ci_job: {}}
      protected_branches_only: false # This configuration supersedes the group configuration
      environments:
        - dev
  groups:
    - id: example
      access_as: {ci_job: {}}
      protected_branches_only: true
      environments:
        - dev
`

func configureAuthorization(c *config.Configuration) {
	for id := int64(openAgent); id < lastAgent; id++ {
		a := config.Agent{ID: id}
		if id%2 == 0 { // messages call an agent by its name, too, where it has one
			a.Name = fmt.Sprintf("path/to/agent/project:agent-%d", id)
		}
		if id == staticAgent {
			a.Impersonate.Users = []string{"static-bot"}
		}
		c.Agents = append(c.Agents, a)
	}
	c.Restrictions = restrictions()
}

// restrictions name the agents that they concern, so that other tests do not meet them.
func restrictions() []policy.Restriction {
	production := policy.Requirements{EnvironmentTiers: []string{"production"}}
	return []policy.Restriction{
		requires("environment", policy.Requirements{Environments: []string{"production", "eu/*"}}),
		requires("any-environment", policy.Requirements{Environments: []string{"*"}}),
		requires("tier", production),
		requires("ref", policy.Requirements{ProtectedRef: true}),
		requires("project", policy.Requirements{Projects: []int64{projectOne, projectTwo}}),
		requires("group", policy.Requirements{Groups: []int64{outerGroup}}),
		requires("other-group", policy.Requirements{Groups: []int64{groupOne}}),
		requires("role", policy.Requirements{Roles: []string{"maintainer", "owner"}}),
		requires("everything", policy.Requirements{
			Environments: []string{"production"}, EnvironmentTiers: []string{"production"}, ProtectedRef: true,
			Projects: []int64{shopProject}, Groups: []int64{innerGroup}, Roles: []string{"maintainer"},
		}),
		{Name: "by namespace", Agents: []int64{filteringAgent}, Namespaces: []string{"prod-*"}, Require: production},
		{
			Name: "by verb", Agents: []int64{filteringAgent}, Namespaces: []string{"verb"},
			Verbs: []string{"create", "delete"}, Require: production,
		},
		{
			Name: "by API group", Agents: []int64{filteringAgent}, Namespaces: []string{"api-group"},
			APIGroups: []string{"apps"}, Require: production,
		},
		{
			Name: "by resource", Agents: []int64{filteringAgent}, Namespaces: []string{"resource"},
			APIGroups: []string{"apps", ""}, Resources: []string{"deployments/scale", "pods/exec", "configmaps"},
			Require: production,
		},
		{
			Name: "by any subresource", Agents: []int64{filteringAgent}, Namespaces: []string{"subresource"},
			Resources: []string{"*/scale"}, Require: production,
		},
		{
			Name: "stars", Agents: []int64{starAgent}, Namespaces: []string{"*"},
			Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Require: production,
		},
		{Name: "whole cluster", Agents: []int64{wholeAgent}, Require: production},
		{Name: "all resources", Agents: []int64{clusterAgent}, Resources: []string{"*"}, Require: production},
	}
}

// requires is a restriction in the namespace of its name.
func requires(name string, r policy.Requirements) policy.Restriction {
	return policy.Restriction{
		Name: "by " + name, Agents: []int64{requiringAgent}, Namespaces: []string{name}, Require: r,
	}
}
