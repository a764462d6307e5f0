package e2e_test

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"
)

// The example of GitLab's page on impersonation: project 150 in group 25 in group 23, environment prod of tier
// production. Project 151 is its neighbour.
const (
	outerGroup    = 23
	innerGroup    = 25
	agentGroup    = 27
	agentsProject = 7
	project       = 150
	otherProject  = 151
	developer     = 9
)

// The agents. All but elsewhereAgent are configured for this cluster.
const (
	ciJobAgent          = 4
	serviceAccountAgent = 5
	bareAgent           = 6
	impersonateAgent    = 8
	overreachingAgent   = 10
	unknownModeAgent    = 11
	elsewhereAgent      = 12
	notForThisProject   = 13
	twoModesAgent       = 14
)

// The contexts of their kubeconfig.
const (
	ciJobContext          = "path/to/agent/project:agent-name"
	serviceAccountContext = "path/to/agent/project:with-service-account"
	bareContext           = "path/to/agent/project:bare"
	impersonateContext    = "path/to/agent/project:impersonate"
	overreachingContext   = "path/to/agent/project:overreaching"
	unknownModeContext    = "path/to/agent/project:unknown-mode"
	twoModesContext       = "path/to/agent/project:two-modes"
	elsewhereContext      = "path/to/agent/project:elsewhere"
)

const personalAccessToken = "glpat-e2eE2eE2eE2eE2eE2eE2"

func newInstance() gitlabtest.Instance {
	agent := func(id int64, context, accessAs string, projects ...string) gitlabtest.Agent {
		_, name, _ := strings.Cut(context, ":")
		return gitlabtest.Agent{ID: id, Name: name, Project: agentsProject, Config: agentConfig(accessAs, projects...)}
	}
	w := gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups: []gitlabtest.Group{
			{ID: outerGroup, Path: "path"},
			{ID: innerGroup, Parent: outerGroup, Path: "path/to"},
			{ID: agentGroup, Parent: innerGroup, Path: "path/to/agent"},
		},
		Projects: []gitlabtest.Project{
			{ID: agentsProject, Group: agentGroup, Path: "path/to/agent/project"},
			{ID: project, Group: innerGroup, Path: "path/to/project", Environments: environments()},
			{ID: otherProject, Group: innerGroup, Path: "path/to/other", Environments: environments()},
		},
		Users: []gitlabtest.User{
			{ID: developer, Username: "jdoe", Access: map[int64]int{project: 30, otherProject: 30}},
		},
		Agents: []gitlabtest.Agent{
			agent(ciJobAgent, ciJobContext, "{ci_job: {}}", "path/to/project", "path/to/other"),
			agent(serviceAccountAgent, serviceAccountContext, "{agent: {}}", "path/to/project"),
			agent(bareAgent, bareContext, "{}", "path/to/project"),
			agent(impersonateAgent, impersonateContext,
				`{impersonate: {username: deploy-bot, uid: "42", groups: [deployers], `+
					`extra: [{key: example.com/team, val: [web]}]}}`, "path/to/project"),
			agent(overreachingAgent, overreachingContext,
				"{impersonate: {username: root-bot, groups: [deployers]}}", "path/to/project"),
			agent(unknownModeAgent, unknownModeContext, "{ci_user: {}}", "path/to/project"),
			agent(twoModesAgent, twoModesContext, "{agent: {}, ci_job: {}}", "path/to/project"),
			agent(elsewhereAgent, elsewhereContext, "{ci_job: {}}", "path/to/project"),
			agent(notForThisProject, "path/to/agent/project:not-for-this-project", "{ci_job: {}}", "path/to/other"),
		},
		Tokens: []gitlabtest.AccessToken{{Token: personalAccessToken, User: developer, Scopes: []string{"api"}}},
	}
	addAuthorization(&w)
	return w
}

func environments() []gitlabtest.Environment {
	return []gitlabtest.Environment{
		{Name: "prod", Slug: "prod", Tier: "production"},
		{Name: "staging", Slug: "staging", Tier: "staging"},
	}
}

// agentConfig is an agent's .gitlab/agents/<name>/config.yaml.
func agentConfig(accessAs string, projects ...string) string {
	var text strings.Builder
	text.WriteString("ci_access:\n  projects:\n")
	for _, path := range projects {
		fmt.Fprintf(&text, "  - id: %s\n    access_as: %s\n", path, accessAs)
	}
	return text.String()
}

// configure is the cluster's side of the same fixture.
func configure(c *config.Configuration) {
	// A second instance joins in TestInstances.
	c.Serving.ReusePort = runtime.GOOS == "linux"
	// GitLab's failures are to be seen within the patience of a test.
	c.GitLab.Timeout = config.Duration{Duration: 2 * time.Second}
	c.Agents = []config.Agent{
		{ID: ciJobAgent, Name: ciJobContext},
		{ID: serviceAccountAgent, ServiceAccount: config.ServiceAccount{Namespace: "deploy", Name: "deployer"}},
		{ID: bareAgent},
		{ID: impersonateAgent, Impersonate: policy.Impersonate{
			Users: []string{"deploy-*"}, Groups: []string{"deployers"}, UIDs: []string{"42"},
			ExtraKeys: []string{"example.com/team"},
		}},
		{ID: overreachingAgent, Impersonate: policy.Impersonate{
			Users: []string{"deploy-*"}, Groups: []string{"deployers"},
		}},
		{ID: unknownModeAgent},
		{ID: notForThisProject},
		{ID: twoModesAgent},
	}
	configureAuthorization(c)
}
