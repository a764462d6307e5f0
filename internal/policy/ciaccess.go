package policy

import (
	"fmt"

	"github.com/jobgate/jobgate/internal/job"
)

// CIAccess is what the ci_access entry of an agent asks of a job that GitLab lists for the agent.
type CIAccess struct {
	environments  []string
	needProtected bool
}

// CIAccess reads an agent's entry, which must be usable.
//
// protected_branches_only is vouched for by the listing where GitLab filters by it itself, as 17.10 and later do; older
// releases can ignore it altogether.
func (p *Policy) CIAccess(a *job.Agent) CIAccess {
	c := a.Configuration
	return CIAccess{environments: c.Environments, needProtected: c.ProtectedBranchesOnly && !p.filtersProtectedBranches}
}

// Asks says whether the entry leaves anything to be checked.
func (c *CIAccess) Asks() bool { return len(c.environments) > 0 || c.needProtected }

func (c *CIAccess) needs() job.Needs {
	var n job.Needs
	if hasWildcard(c.environments) {
		n.Environments = c.environments
	}
	if c.needProtected {
		n.Facts |= job.FactRef | job.FactRefProtected
	}
	return n
}

// Refusal says why the job does not satisfy the entry, as the rest of a sentence about the entry; empty when it does.
//
// By listing the agent GitLab has said that the job does. Its exact matches are exact, so they count; its wildcards are
// unanchored, so where the list has one the whole list is matched here. While GitLab is in trouble a name that is not
// known fails. Where GitLab refuses to say it, to every credential, GitLab's own match counts, and Unverified says so.
func (c *CIAccess) Refusal(j *job.Job) string {
	if len(c.environments) > 0 {
		switch e := &j.Environment; {
		case !e.Exists():
			return fmt.Sprintf("it is for environments %s, and the job has none", List(c.environments))
		case c.matches(e) || c.Unverified(j):
		default:
			return fmt.Sprintf("it is for environments %s, and %s", List(c.environments), environmentOf(c.environments, j))
		}
	}
	if c.needProtected && !refIsProtected(&j.Ref) {
		return "it has protected_branches_only, and " + protectionOf(&j.Ref)
	}
	return ""
}

// matches takes an environment that exists. Where the list has no wildcard, GitLab's match is exact.
func (c *CIAccess) matches(e *job.Environment) bool {
	return !hasWildcard(c.environments) || environmentMatches(c.environments, e)
}

// Unverified says that nothing but GitLab's own, unanchored match is known to hold.
func (c *CIAccess) Unverified(j *job.Job) bool {
	return j.Environment.Exists() && j.Environment.Name.Refused && !c.matches(&j.Environment)
}
