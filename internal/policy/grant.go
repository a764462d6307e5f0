package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Grant admits jobs to the cluster without an agent. It names a job by its project or by one of its groups; the
// requirements are in addition.
type Grant struct {
	Name     string       `json:"name" doc:"Shown in messages, and in the extra jobgate.io/grant. Each name is used once." example:"shop" required:"true"`
	Projects []int64      `json:"projects" doc:"GitLab ids of projects. At least one of projects and groups is needed." bounds:"at least 1" example:"[150]"`
	Groups   []int64      `json:"groups" doc:"GitLab ids of groups: the project's group, or any above it." bounds:"at least 1" example:"[23]"`
	Require  Requirements `json:"require" doc:"What must also be true of a job of these projects and groups, as in a restriction."`
}

// maxGrantName bounds a grant's name, in bytes: it travels in an extra of every identity.
const maxGrantName = 128

// Validate finds what is missing, and what no job can meet.
func (g *Grant) Validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case isBlank(g.Name):
		errs = append(errs, field.Required(path.Child("name"), "it is shown in messages and in the audit log"))
	case len(g.Name) > maxGrantName || Printable(g.Name, maxGrantName) != g.Name:
		errs = append(errs, field.Invalid(path.Child("name"), field.OmitValueType{}, fmt.Sprintf("must be printable and at most %d bytes", maxGrantName)))
	}
	if len(g.Projects)+len(g.Groups) == 0 {
		errs = append(errs, field.Required(path, "must have at least one of projects and groups"))
	}
	return append(errs, g.Require.Validate(path.Child("require"))...)
}

// grant is a Grant, compiled.
type grant struct {
	name     string
	projects Projects
	groups   Groups
	require  requirements
}

func compileGrant(g *Grant) grant {
	return grant{name: g.Name, projects: slices.Clone(g.Projects), groups: slices.Clone(g.Groups), require: g.Require.list()}
}

// names says whether the grant is for the job.
func (g *grant) names(j *job.Job) bool { return g.projects.met(j) || g.groups.met(j) }

// Admission is what the grants make of a job.
type Admission struct {
	// Grant is the name of the grant that admits the job; empty where none does.
	Grant string
	// Named says that some grant names the job, though no requirement of any such grant may hold.
	Named bool
	// Reason says why the job is not admitted, as the rest of a sentence about it.
	Reason string
}

// Admit finds the first grant that names the job and whose requirements hold.
func (p *Policy) Admit(j *job.Job) Admission {
	isNamed := false
	for i := range p.grants {
		if g := &p.grants[i]; g.names(j) {
			if g.require.met(j) {
				return Admission{Grant: g.name, Named: true}
			}
			isNamed = true
		}
	}
	if isNamed {
		return Admission{Named: true, Reason: p.grantsUnmet(j)}
	}
	return Admission{Reason: fmt.Sprintf("no grant of the cluster %s names its project or a group of it%s", p.Cluster, p.groupsUnknown(j))}
}

// grantsUnmet says what the job lacks for the first few grants that name it.
func (p *Policy) grantsUnmet(j *job.Job) string {
	var reasons []string
	more := 0
	for i := range p.grants {
		switch g := &p.grants[i]; {
		case !g.names(j):
		case len(reasons) == maxListed:
			more++
		default:
			reasons = append(reasons, fmt.Sprintf("of grant %s: %s", Quote(g.name), g.require.unmet(j)))
		}
	}
	if more > 0 {
		reasons = append(reasons, fmt.Sprintf("of %d more", more))
	}
	return "it does not meet the requirements " + strings.Join(reasons, "; nor ")
}

// groupsUnknown is a hint for the case that a grant could name one of the job's groups, and they are not known.
func (p *Policy) groupsUnknown(j *job.Job) string {
	if j.Groups.Known {
		return ""
	}
	for i := range p.grants {
		if len(p.grants[i].groups) > 0 {
			return "; the project's groups are not known: " + unknown(j.Groups.Why)
		}
	}
	return ""
}
