package gitlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	kjson "sigs.k8s.io/json"
)

// allowedAgentsPath is lib/api/ci/jobs.rb: which agents the job behind the token may use.
const allowedAgentsPath = "api/v4/job/allowed_agents"

// ErrIncompleteReply is in the chain of the error for a reply that lacks something every identity is made of, or holds
// something no identity may be made of.
var ErrIncompleteReply = errors.New("incomplete reply")

// AllowedAgents is GitLab's answer about a live job: who it is, and which agents list it. Every id is greater than
// zero and the user name is not empty.
type AllowedAgents struct {
	Agents      []AllowedAgent
	JobID       int64
	PipelineID  int64
	ProjectID   int64
	GroupIDs    []int64 // in the reply's order: the project's group first, its ancestors after it
	UserID      int64
	Username    string
	Roles       []string     // roles_in_project, cumulative; GitLab adds names over time
	Environment *Environment // nil for a job without a persisted environment
}

// AllowedAgent is one entry of the list. Its configuration is what the agent's authors wrote and GitLab never validated,
// so it is read one agent at a time, by ParseConfiguration.
type AllowedAgent struct {
	ID              int64
	ConfigProjectID int64 // 0 where the entry has none that is valid
	// ConfigProjectPath is the full path of the project that the agent is registered in, at most 1024 bytes of another
	// system's text; empty where the entry has none. It names things to people and decides nothing.
	ConfigProjectPath string
	Configuration     []byte
}

// DefaultNamespace is what the agent's authors want kubectl to begin with (default_namespace); empty where they want
// nothing, or nothing that is text.
func (a *AllowedAgent) DefaultNamespace() string {
	var entry struct {
		DefaultNamespace json.RawMessage `json:"default_namespace"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(a.Configuration, &entry); err != nil {
		return ""
	}
	return readName(entry.DefaultNamespace)
}

// Environment is the job's environment. Slug and tier are DNS labels (RFC 1123): both become part of group names.
type Environment struct {
	Slug string
	Tier string
}

// AllowedAgents asks GitLab who the job behind the token is. One call makes at most five requests and takes at most
// the client's timeout. The error is a *RejectedError or an *UnavailableError.
func (c *Client) AllowedAgents(ctx context.Context, jobToken string, urgency Urgency) (*AllowedAgents, error) {
	r := request{endpoint: allowedAgentsPath, credential: JobToken(jobToken), urgency: urgency, judgesToken: true}
	return get(ctx, c, r, func(a answer) (*AllowedAgents, error) { return ParseAllowedAgents(a.body) })
}

// allowedAgentsReply is the wire form (lib/api/entities/clusters/agents/authorizations/ci_access.rb and the route
// itself). Names are matched case-sensitively; what is not listed is ignored, for GitLab adds fields.
type allowedAgentsReply struct {
	AllowedAgents []json.RawMessage `json:"allowed_agents"`
	Job           identified        `json:"job"`
	Pipeline      identified        `json:"pipeline"`
	Project       struct {
		ID     int64        `json:"id"`
		Groups []identified `json:"groups"`
	} `json:"project"`
	User struct {
		ID       int64    `json:"id"`
		Username string   `json:"username"`
		Roles    []string `json:"roles_in_project"`
	} `json:"user"`
	Environment *struct {
		Slug string `json:"slug"`
		Tier string `json:"tier"`
	} `json:"environment"`
}

type identified struct {
	ID int64 `json:"id"`
}

// ParseAllowedAgents reads the body of a reply. It is strict on what identities are made of and tolerant of the rest.
func ParseAllowedAgents(body []byte) (*AllowedAgents, error) {
	var reply allowedAgentsReply
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &reply); err != nil {
		return nil, fmt.Errorf("decode allowed_agents: %w", err)
	}
	if err := reply.check(); err != nil {
		return nil, err
	}
	a := &AllowedAgents{
		JobID:      reply.Job.ID,
		PipelineID: reply.Pipeline.ID,
		ProjectID:  reply.Project.ID,
		UserID:     reply.User.ID,
		Username:   reply.User.Username,
		Roles:      reply.User.Roles,
	}
	for _, g := range reply.Project.Groups {
		a.GroupIDs = append(a.GroupIDs, g.ID)
	}
	if reply.Environment != nil {
		a.Environment = &Environment{Slug: reply.Environment.Slug, Tier: reply.Environment.Tier}
	}
	for _, raw := range reply.AllowedAgents {
		if agent, ok := parseAllowedAgent(raw); ok {
			a.Agents = append(a.Agents, agent)
		}
	}
	return a, nil
}

// parseAllowedAgent reads one entry. An entry without a usable id can be asked for by nobody and is dropped.
func parseAllowedAgent(raw []byte) (AllowedAgent, bool) {
	var entry struct {
		ID            int64           `json:"id"`
		ConfigProject json.RawMessage `json:"config_project"`
		Configuration json.RawMessage `json:"configuration"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &entry); err != nil || entry.ID <= 0 {
		return AllowedAgent{}, false
	}
	var project struct {
		ID   int64           `json:"id"`
		Path json.RawMessage `json:"path_with_namespace"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(entry.ConfigProject, &project); err != nil || project.ID < 0 {
		project.ID = 0
	}
	return AllowedAgent{
		ID: entry.ID, ConfigProjectID: project.ID, ConfigProjectPath: readName(project.Path), Configuration: entry.Configuration,
	}, true
}

// readName reads text that no identity is made of, and that is therefore nobody's reason to refuse a reply.
func readName(raw []byte) string {
	var name string
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &name); err != nil || len(name) > maxName {
		return ""
	}
	return name
}

// dnsLabel is RFC 1123's label. Slugs and tiers that GitLab makes are always one; anything else could forge a group,
// as in the slug "prod:production".
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func (r *allowedAgentsReply) check() error {
	for _, id := range []struct {
		of    string
		value int64
	}{{"job", r.Job.ID}, {"pipeline", r.Pipeline.ID}, {"project", r.Project.ID}, {"user", r.User.ID}} {
		if id.value <= 0 {
			return fmt.Errorf("%w: %s id is %d", ErrIncompleteReply, id.of, id.value)
		}
	}
	if r.User.Username == "" {
		return fmt.Errorf("%w: user has no name", ErrIncompleteReply)
	}
	for _, g := range r.Project.Groups {
		if g.ID <= 0 {
			return fmt.Errorf("%w: group id is %d", ErrIncompleteReply, g.ID)
		}
	}
	if e := r.Environment; e != nil && (!dnsLabel.MatchString(e.Slug) || !dnsLabel.MatchString(e.Tier)) {
		return fmt.Errorf("%w: environment slug %.64q and tier %.64q must be DNS labels", ErrIncompleteReply, e.Slug, e.Tier)
	}
	return nil
}
