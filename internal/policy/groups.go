package policy

import "github.com/jobgate/jobgate/internal/job"

// Groups are GitLab ids of groups, which the project is in or below.
type Groups []int64

func (g Groups) needs() job.Needs { return job.Needs{Facts: job.FactGroups} }

func (g Groups) met(j *job.Job) bool { return hasAny(j.Groups, g) }

func (g Groups) unmet(j *job.Job) string {
	must := "its project must be in one of the groups " + ListIDs(g)
	if !j.Groups.Known {
		return must + ", and the project's groups are not known: " + unknown(j.Groups.Why)
	}
	return must + ", and it is in none of them"
}
