package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Groups are GitLab ids of groups, which the project is in or below.
type Groups []int64

func (g Groups) isSet() bool { return len(g) > 0 }

func (g Groups) validate(*field.Path) field.ErrorList { return nil }

func (g Groups) needs() job.Needs { return job.Needs{Facts: job.FactGroups} }

func (g Groups) met(j *job.Job) bool {
	if !j.Groups.Known {
		return false
	}
	for _, id := range j.Groups.Value {
		if contains(g, id) {
			return true
		}
	}
	return false
}

func (g Groups) unmet(j *job.Job) string {
	must := "its project must be in one of the groups " + ListIDs(g)
	if !j.Groups.Known {
		return must + ", and the project's groups are not known: " + unknown(j.Groups.Why)
	}
	return must + ", and it is in none of them"
}
