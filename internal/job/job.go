// Package job is the job registry: what GitLab said about each job, how fresh that is, and one lookup at a time for each.
//
// It knows when an answer may be used, when it must be renewed and when it is gone. It must not know Kubernetes, nor what
// an identity looks like, nor what any request is for: the same knowledge serves authentication and authorization.
package job

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/rule"
)

// Job is what is known about one live job, whoever vouched for it. It is shared and never changed: a refresh makes a
// new one.
type Job struct {
	ID          int64
	PipelineID  int64
	ProjectID   int64
	GroupIDs    []int64 // the project's groups, in GitLab's order
	UserID      int64
	Username    string // never empty
	Roles       []string
	Environment *gitlab.Environment // nil: none
	Agents      []Agent             // of the agents this process serves, those that list the job; each id once
	Facts       Facts               // what had to be asked for besides
}

// Facts are what GitLab's lookup does not say of a job. Each is learnt only when a rule needs it, once per job.
type Facts struct {
	// EnvironmentName is the environment's full name; empty while it is not known.
	EnvironmentName string
	// Ref is the branch or tag, or refs/merge-requests/<iid>/head; empty while it is not known.
	Ref string
	// RefProtected says whether the ref was protected when the job was first seen.
	RefProtected Protection
	// EnvironmentUnknown and ProtectionUnknown say, for the reader of a refusal, which permission would teach a fact that
	// was asked for and could not be learnt; empty otherwise.
	EnvironmentUnknown string
	ProtectionUnknown  string
}

// Protection is what is known of a ref's protection.
type Protection int

// The zero value is not knowing, which satisfies nothing.
const (
	ProtectionNotKnown Protection = iota
	Unprotected
	Protected
)

// Agent is what one agent's authors allow the job.
type Agent struct {
	ID              int64
	ConfigProjectID int64
	Configuration   gitlab.Configuration
	// Err says why the entry cannot be used; it wraps gitlab.ErrConfiguration. The job's other agents are not touched.
	Err error
}

// Agent returns the entry of an agent, or nil when the job is not allowed to use it.
func (j *Job) Agent(id int64) *Agent {
	for i := range j.Agents {
		if j.Agents[i].ID == id {
			return &j.Agents[i]
		}
	}
	return nil
}

// FromReply is the job that a lookup with this answer would make known, without facts that were not asked for.
func FromReply(a *gitlab.AllowedAgents, agents []ServedAgent) *Job {
	return newJob(a, newServedAgents(agents))
}

// newJob keeps of GitLab's answer what concerns the served agents.
func newJob(a *gitlab.AllowedAgents, served *servedAgents) *Job {
	j := &Job{
		ID:          a.JobID,
		PipelineID:  a.PipelineID,
		ProjectID:   a.ProjectID,
		GroupIDs:    a.GroupIDs,
		UserID:      a.UserID,
		Username:    a.Username,
		Roles:       a.Roles,
		Environment: a.Environment,
	}
	for _, listed := range a.Agents {
		// Of two entries for one agent the first counts, as in KAS's own scan.
		if _, ok := served.byID[listed.ID]; ok && j.Agent(listed.ID) == nil {
			j.Agents = append(j.Agents, newAgent(listed))
		}
	}
	j.Agents = slices.Clip(j.Agents)
	return j
}

// needs are the facts that some rule asks for of this job.
func (j *Job) needs(served *servedAgents) Needs {
	var all Needs
	for _, a := range j.Agents {
		s := served.byID[a.ID]
		access := a.CIAccess(s.FiltersProtectedBranches)
		all = all.or(s.Needs).or(Needs{EnvironmentName: access.NeedsEnvironmentName(), Protection: access.NeedsProtection()})
	}
	return all
}

// CIAccess is the rule that the agent's authors set for its jobs.
func (a *Agent) CIAccess(filtersProtectedBranches bool) rule.CIAccess {
	return rule.CIAccess{
		Environments:          a.Configuration.Environments,
		ProtectedBranchesOnly: a.Configuration.ProtectedBranchesOnly,
		ProtectionVouched:     filtersProtectedBranches,
	}
}

// Refusal says why the job does not satisfy the agent's ci_access entry, as a sentence for the job's author; empty when
// it does.
func (j *Job) Refusal(a *Agent, filtersProtectedBranches bool) string {
	access := a.CIAccess(filtersProtectedBranches)
	if !access.Asks() {
		return ""
	}
	refusal := access.Refusal(&rule.Job{
		Environment:        j.FullEnvironment(),
		Ref:                j.Facts.Ref,
		RefProtected:       j.Facts.RefProtected == Protected,
		RefUnprotected:     j.Facts.RefProtected == Unprotected,
		EnvironmentUnknown: j.Facts.EnvironmentUnknown,
		ProtectionUnknown:  j.Facts.ProtectionUnknown,
	})
	if refusal == "" {
		return ""
	}
	return fmt.Sprintf("the ci_access entry of agent %d does not admit job %d of project %d: %s", a.ID, j.ID, j.ProjectID, refusal)
}

// FullEnvironment is the job's environment with the name that was learnt; its zero value is none.
func (j *Job) FullEnvironment() rule.Environment {
	if j.Environment == nil {
		return rule.Environment{}
	}
	return rule.Environment{Slug: j.Environment.Slug, Name: j.Facts.EnvironmentName}
}

func newAgent(listed gitlab.AllowedAgent) Agent {
	a := Agent{ID: listed.ID, ConfigProjectID: listed.ConfigProjectID}
	if a.ConfigProjectID == 0 {
		a.Err = errNoConfigProject
		return a
	}
	a.Configuration, a.Err = gitlab.ParseConfiguration(listed.Configuration)
	return a
}
