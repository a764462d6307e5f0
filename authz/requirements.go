package authz

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/internal/rule"
)

// Requirements are facts about a job. All that are given must hold, each list by any one of its entries. A fact that is
// not known fails.
type Requirements struct {
	// Environments are patterns for the whole name of the job's environment; package rule says how a name is proven.
	Environments []string
	// EnvironmentTiers are GitLab's: production, staging, testing, development and other.
	EnvironmentTiers []string
	// ProtectedRef asks for a protected branch or tag.
	ProtectedRef bool
	// Projects and Groups are GitLab's ids: the job's project, and any group that the project is in.
	Projects []int64
	Groups   []int64
	// Roles are names as in roles_in_project, which lists every role up to the user's own.
	Roles []string
}

// requirements are Requirements, compiled.
type requirements struct {
	environments     []rule.Pattern
	environmentTexts []string // as written, for messages
	tiers            []string
	protectedRef     bool
	projects         []int64
	groups           []int64
	roles            []string
}

func (r *requirements) met(c *inquiry) bool {
	return r.environmentProof(c) == rule.Proven &&
		r.tierMet(c) && r.refMet(c) && r.projectMet(c) && r.groupMet(c) && r.roleMet(c)
}

func (r *requirements) environmentProof(c *inquiry) rule.Proof {
	if len(r.environments) == 0 {
		return rule.Proven
	}
	return rule.Prove(r.environments, c.facts.Environment)
}

func (r *requirements) tierMet(c *inquiry) bool {
	return len(r.tiers) == 0 || slices.Contains(r.tiers, c.facts.tier)
}

func (r *requirements) refMet(c *inquiry) bool { return !r.protectedRef || c.facts.RefProtected }

func (r *requirements) projectMet(c *inquiry) bool {
	return len(r.projects) == 0 || slices.Contains(r.projects, c.claims.project)
}

func (r *requirements) groupMet(c *inquiry) bool {
	if len(r.groups) == 0 {
		return true
	}
	if c.job != nil {
		return slices.ContainsFunc(c.job.GroupIDs, func(id int64) bool { return slices.Contains(r.groups, id) })
	}
	for _, text := range c.claims.groups {
		if id, ok := parseID(text); ok && slices.Contains(r.groups, id) {
			return true
		}
	}
	return false
}

func (r *requirements) roleMet(c *inquiry) bool {
	if len(r.roles) == 0 {
		return true
	}
	roles := c.claims.roles
	if c.job != nil {
		roles = c.job.Roles
	}
	for _, role := range roles {
		if slices.Contains(r.roles, role) {
			return true
		}
	}
	return false
}

// unmet says what is missing, one clause for each requirement that does not hold.
func (r *requirements) unmet(c *inquiry) string {
	var clauses []string
	if proof := r.environmentProof(c); proof != rule.Proven {
		clauses = append(clauses, "its environment must be one of "+rule.List(r.environmentTexts)+", and "+
			environmentOf(c, proof))
	}
	if !r.tierMet(c) {
		clauses = append(clauses, "its environment's tier must be one of "+rule.List(r.tiers)+", and "+tierOf(c))
	}
	if !r.refMet(c) {
		clauses = append(clauses, "its ref must be protected, and "+c.facts.ProtectionShortfall())
	}
	if !r.projectMet(c) {
		clauses = append(clauses, "its project must be one of "+rule.ListIDs(r.projects))
	}
	if !r.groupMet(c) {
		clauses = append(clauses, "its project must be in one of the groups "+rule.ListIDs(r.groups)+
			c.unlessKnown(c.claims.groupsKnown, "the groups"))
	}
	if !r.roleMet(c) {
		clauses = append(clauses, "its user must have in the project one of the roles "+rule.List(r.roles)+
			c.unlessKnown(c.claims.rolesKnown, "the roles"))
	}
	return strings.Join(clauses, "; ")
}

func environmentOf(c *inquiry, proof rule.Proof) string {
	switch {
	case !c.facts.Environment.Exists():
		return "the job has none"
	case proof == rule.NameMissing:
		return c.facts.NameShortfall()
	default:
		return "the job's is " + c.facts.Environment.String()
	}
}

func tierOf(c *inquiry) string {
	if c.facts.tier == "" {
		return "the job has no environment"
	}
	return "the job's is " + rule.Quote(c.facts.tier)
}

// unlessKnown adds why a list of an identity that says nothing of it could not hold.
func (c *inquiry) unlessKnown(claimed bool, what string) string {
	if c.job != nil || claimed {
		return ""
	}
	return fmt.Sprintf(", and %s are not known here yet; try again in a few seconds, when the API server has asked anew",
		what)
}
