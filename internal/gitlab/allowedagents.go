package gitlab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	kjson "sigs.k8s.io/json"

	"github.com/jobgate/jobgate/internal/job"
)

// allowedAgentsPath is lib/api/ci/jobs.rb: which agents the job behind the token may use.
const allowedAgentsPath = "api/v4/job/allowed_agents"

// maxAllowedAgents bounds the reply. Nothing in GitLab bounds the agents that one job may use, so a top-level group with
// thousands of agents makes a reply of some MiB.
const maxAllowedAgents = 16 << 20

// AllowedAgents is GitLab's answer about a live job: who it is, and which agents list it. Every id is greater than
// zero and the user name is not empty.
type AllowedAgents struct {
	Agents      []AllowedAgent // each id once: the first entry counts
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
	// Configuration is compact JSON; nil where the entry has none.
	Configuration []byte
	// TooLarge is set for a configuration larger than 64 KiB, which is not kept.
	TooLarge bool
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

// Identify implements job.Source with a job token.
func (c *Client) Identify(ctx context.Context, token string, before *job.Job, lane job.Lane) (*job.Job, error) {
	reply, err := c.AllowedAgents(ctx, token, lane)
	if err != nil {
		return nil, err
	}
	j := reply.job(c.configurations)
	if before != nil && slices.Equal(before.Groups.Value, j.Groups.Value) {
		j.Groups = before.Groups
	}
	if before != nil && slices.Equal(before.Roles.Value, j.Roles.Value) {
		j.Roles = before.Roles
	}
	return j, nil
}

// Job is the job that the reply describes, with the agents in it.
func (a *AllowedAgents) Job() *job.Job { return a.job(nil) }

func (a *AllowedAgents) job(shared *configurations) *job.Job {
	j := &job.Job{
		ID: a.JobID, PipelineID: a.PipelineID, ProjectID: a.ProjectID, UserID: a.UserID, Username: a.Username,
		Groups: job.KnownFact(a.GroupIDs), Roles: job.KnownFact(a.Roles), Agents: make([]job.Agent, len(a.Agents)),
	}
	if e := a.Environment; e != nil {
		j.Environment = job.Environment{Slug: e.Slug, Tier: e.Tier}
	}
	for i := range a.Agents {
		j.Agents[i] = shared.agent(&a.Agents[i])
	}
	return j
}

// AllowedAgents asks GitLab who the job behind the token is. One call makes at most five requests and takes at most
// the client's timeout. The error is a *job.RejectedError or a *job.UnavailableError.
func (c *Client) AllowedAgents(ctx context.Context, token string, lane job.Lane) (*AllowedAgents, error) {
	r := request{
		endpoint: allowedAgentsPath, credential: jobToken(token), queue: queueOf(lane), maxBody: maxAllowedAgents,
	}
	reply, err := get(ctx, c, r, func(a *answer) (*AllowedAgents, error) { return readAllowedAgents(a.body, c.agents) })
	return reply, asRejection(err)
}

// ParseAllowedAgents reads the body of a reply, with every agent in it.
func ParseAllowedAgents(body []byte) (*AllowedAgents, error) {
	return readAllowedAgents(bytes.NewReader(body), nil)
}

// allowedAgentsReply is the wire form of all but the agents (the route itself in lib/api/ci/jobs.rb). Names are matched
// case-sensitively; what is not listed is ignored, for GitLab adds fields.
type allowedAgentsReply struct {
	Agents   []AllowedAgent
	Job      identified
	Pipeline identified
	Project  struct {
		ID     int64        `json:"id"`
		Groups []identified `json:"groups"`
	}
	User struct {
		ID       int64    `json:"id"`
		Username string   `json:"username"`
		Roles    []string `json:"roles_in_project"`
	}
	Environment *struct {
		Slug string `json:"slug"`
		Tier string `json:"tier"`
	}
}

type identified struct {
	ID int64 `json:"id"`
}

// fields are the reply's own, by key.
func (r *allowedAgentsReply) fields() map[string]any {
	return map[string]any{
		"job": &r.Job, "pipeline": &r.Pipeline, "project": &r.Project, "user": &r.User, "environment": &r.Environment,
	}
}

func (r *allowedAgentsReply) result() *AllowedAgents {
	a := &AllowedAgents{
		Agents:     r.Agents,
		JobID:      r.Job.ID,
		PipelineID: r.Pipeline.ID,
		ProjectID:  r.Project.ID,
		UserID:     r.User.ID,
		Username:   r.User.Username,
		Roles:      r.User.Roles,
	}
	for _, g := range r.Project.Groups {
		a.GroupIDs = append(a.GroupIDs, g.ID)
	}
	if r.Environment != nil {
		a.Environment = &Environment{Slug: r.Environment.Slug, Tier: r.Environment.Tier}
	}
	return a
}

// readName reads text that no identity is made of, and that is therefore no reason to refuse a reply.
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
		return fmt.Errorf("%w: the environment's slug and tier must be DNS labels", ErrIncompleteReply)
	}
	return nil
}
