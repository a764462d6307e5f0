package policy

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/job"
)

// maxName bounds the name of an agent in a message, in characters: it is a project's path and more.
const maxName = 128

// Rules are what the cluster's admin configured.
type Rules struct {
	// Agents are the agents of this cluster.
	Agents []Agent
	// Cluster is the name of this cluster, which credentials for grants carry; empty where it has none.
	Cluster      string
	Grants       []Grant
	Restrictions []Restriction
	Blocked      Blocked
	// ExtraFacts are added to every job's extras.
	ExtraFacts job.Facts
	// FiltersProtectedBranches says that GitLab lists an agent with protected_branches_only for jobs on protected refs
	// alone, as 17.10 and later do.
	FiltersProtectedBranches bool
}

// Agent is one agent of this cluster.
type Agent struct {
	ID   int64
	Name string // for messages; may be empty
}

// Policy is Rules, compiled. It is never changed, and safe for concurrent use.
type Policy struct {
	Cluster      string
	Restrictions []CompiledRestriction
	Blocked      Blocked

	agents                   map[int64]string // by what messages call them
	grants                   []grant
	extraFacts               job.Facts
	filtersProtectedBranches bool
}

// Compile takes rules that are valid, and keeps nothing of them: the caller may change them afterwards.
func Compile(r Rules) *Policy {
	p := &Policy{
		Cluster:                  r.Cluster,
		Blocked:                  r.Blocked.clone(),
		agents:                   make(map[int64]string, len(r.Agents)),
		extraFacts:               r.ExtraFacts,
		filtersProtectedBranches: r.FiltersProtectedBranches,
	}
	for _, a := range r.Agents {
		p.agents[a.ID] = label(a.ID, a.Name)
	}
	for i := range r.Grants {
		p.grants = append(p.grants, compileGrant(&r.Grants[i]))
	}
	for i := range r.Restrictions {
		p.Restrictions = append(p.Restrictions, compileRestriction(&r.Restrictions[i]))
	}
	return p
}

// Serves says whether the agent is one of this cluster.
func (p *Policy) Serves(agent int64) bool {
	_, ok := p.agents[agent]
	return ok
}

// Label is what messages call an agent, of this cluster or not.
func (p *Policy) Label(agent int64) string {
	if known, ok := p.agents[agent]; ok {
		return known
	}
	return label(agent, "")
}

func label(id int64, name string) string {
	if name == "" {
		return fmt.Sprintf("agent %d", id)
	}
	return fmt.Sprintf("agent %d (%s)", id, Printable(name, maxName))
}

// Needs are the facts that some rule asks for of the job, whichever of its agents, or a grant, it uses.
func (p *Policy) Needs(j *job.Job) job.Needs {
	all := job.Needs{Facts: p.extraFacts}
	for i := range p.Restrictions {
		r := &p.Restrictions[i]
		if len(r.agents) == 0 || slices.ContainsFunc(j.Agents, func(a job.Agent) bool { return r.AppliesTo(a.ID) }) {
			all = all.Or(r.require.needs())
		}
	}
	for i := range j.Agents {
		if a := &j.Agents[i]; a.Err == nil {
			access := p.CIAccess(a)
			all = all.Or(access.needs())
		}
	}
	for i := range p.grants {
		if p.grants[i].names(j) {
			all = all.Or(p.grants[i].require.needs())
		}
	}
	return all
}

// ExtrasForAgent are the facts that the identity of an agent's job carries, for instances that know no more of the job.
func (p *Policy) ExtrasForAgent(agent int64) job.Facts {
	f := p.extraFacts | p.Blocked.facts()
	for i := range p.Restrictions {
		if r := &p.Restrictions[i]; r.AppliesTo(agent) {
			f |= r.require.needs().Facts
		}
	}
	return f
}

// ExtrasForGrants are the same for a job that uses no agent.
func (p *Policy) ExtrasForGrants() job.Facts {
	f := p.ExtrasForAgent(0)
	for i := range p.grants {
		g := &p.grants[i]
		f |= g.require.needs().Facts
		if len(g.groups) > 0 {
			f |= job.FactGroups
		}
	}
	return f
}
