package gitlabtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
)

// lookupReply is the answer of GET /job/allowed_agents (lib/api/ci/jobs.rb). It has no ref, no protection, no
// environment name, no agent name and no project path.
type lookupReply struct {
	AllowedAgents []allowedAgent `json:"allowed_agents"`
	Job           idOnly         `json:"job"`
	Pipeline      idOnly         `json:"pipeline"`
	Project       lookupProject  `json:"project"`
	User          lookupUser     `json:"user"`
	// Environment is absent, not null, for a job without a persisted environment.
	Environment *lookupEnvironment `json:"environment,omitempty"`
}

type idOnly struct {
	ID int64 `json:"id"`
}

type allowedAgent struct {
	ID            int64           `json:"id"`
	ConfigProject projectIdentity `json:"config_project"`
	Configuration json.RawMessage `json:"configuration"`
}

// projectIdentity is the entity of this name (lib/api/entities/project_identity.rb).
type projectIdentity struct {
	ID                int64   `json:"id"`
	Description       *string `json:"description"`
	Name              string  `json:"name"`
	NameWithNamespace string  `json:"name_with_namespace"`
	Path              string  `json:"path"`
	PathWithNamespace string  `json:"path_with_namespace"`
	CreatedAt         string  `json:"created_at"`
}

type lookupProject struct {
	ID     int64    `json:"id"`
	Groups []idOnly `json:"groups"` // nearest first; empty for a personal project
}

type lookupUser struct {
	ID             int64    `json:"id"`
	Username       string   `json:"username"`
	RolesInProject []string `json:"roles_in_project"`
}

type lookupEnvironment struct {
	Tier string `json:"tier"`
	Slug string `json:"slug"`
}

// projectsCreated is when every project was created; the Instance does not say.
const projectsCreated = "2024-01-02T03:04:05.678Z"

func (c *call) allowedAgents() (*response, error) {
	job, err := c.currentJob()
	if err != nil {
		return nil, err
	}
	st, project := c.st, c.st.projects[job.Project]
	agents, err := st.allowed(st.authorizations(project), st.facts(job))
	if err != nil {
		return nil, fmt.Errorf("filtering the agents of job %d: %w", job.ID, err)
	}
	reply := lookupReply{
		AllowedAgents: make([]allowedAgent, 0, len(agents)),
		Job:           idOnly{job.ID},
		Pipeline:      idOnly{job.Pipeline.ID},
		Project:       lookupProject{ID: project.ID, Groups: []idOnly{}},
		User: lookupUser{
			ID: c.who.user.ID, Username: c.who.user.Username,
			RolesInProject: st.roles(c.who.user.Access[project.ID]),
		},
	}
	for _, a := range agents {
		reply.AllowedAgents = append(reply.AllowedAgents, st.agentEntity(a))
	}
	for _, id := range st.ancestors(project.Group) {
		reply.Project.Groups = append(reply.Project.Groups, idOnly{id})
	}
	if e := st.environment(job); e != nil {
		reply.Environment = &lookupEnvironment{Tier: e.Tier, Slug: e.Slug}
	}
	out := jsonResponse(http.StatusOK, reply)
	out.header.Set("Gitlab-Feature-Flag", st.instance.Settings.FeatureFlags)
	return out, nil
}

func (st *state) agentEntity(a authorization) allowedAgent {
	configuration := json.RawMessage("{}")
	if a.entry != nil {
		configuration = a.entry.stored
	}
	home := st.projects[a.agent.Project]
	return allowedAgent{
		ID: a.agent.ID,
		ConfigProject: projectIdentity{
			ID:                home.ID,
			Name:              path.Base(home.Path),
			NameWithNamespace: strings.ReplaceAll(home.Path, "/", " / "),
			Path:              path.Base(home.Path),
			PathWithNamespace: home.Path,
			CreatedAt:         projectsCreated,
		},
		Configuration: configuration,
	}
}

// accessLevels are the roles a user can hold (Gitlab::Access.sym_options_with_owner).
var accessLevels = []struct {
	level int
	role  string
}{
	{10, "guest"}, {15, rolePlanner}, {levelReporter, "reporter"}, {30, "developer"}, {levelMaintainer, "maintainer"},
	{50, "owner"},
}

const (
	rolePlanner = "planner"

	levelReporter   = 20
	levelMaintainer = 40
)

// roles is cumulative: all roles up to the user's level, or none for a user who is not a member.
func (st *state) roles(level int) []string {
	names := []string{}
	for _, l := range accessLevels {
		if l.level <= level && !(l.role == rolePlanner && st.instance.Settings.OmitsPlanner) {
			names = append(names, l.role)
		}
	}
	if len(names) > 0 {
		names = append(names, st.instance.Settings.ExtraRoles...)
	}
	return names
}
