package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Roles are names as in GitLab's roles_in_project. GitLab adds roles over time, so any lower-case name is accepted.
type Roles []string

func (r Roles) validate(path *field.Path) field.ErrorList { return words(r, path, "security_manager") }

func (r Roles) needs() job.Needs { return job.Needs{Facts: job.FactRoles} }

func (r Roles) met(j *job.Job) bool { return hasAny(j.Roles, r) }

func (r Roles) unmet(j *job.Job) string {
	must := "its user must have one of the roles " + List(r) + " in the project"
	if !j.Roles.Known {
		return must + ", and the user's roles are not known: " + unknown(j.Roles.Why)
	}
	return must + ", and has none of them"
}
