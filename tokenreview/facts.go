package tokenreview

import (
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
)

// FactExtras says which facts identities carry. The zero value is none: the identity is then exactly the documented one.
type FactExtras struct {
	Environment bool // its full name
	Ref         bool // its name, and whether it is protected
	Groups      bool // the ids of the project's groups
	Roles       bool // of the job's user in the project
}

// add adds the facts that are asked for and known. What is not known is left out, and fails whatever needs it.
func (f FactExtras) add(info *user.DefaultInfo, j *job.Job) {
	if f.Environment && j.Facts.EnvironmentName != "" {
		info.Extra[extras.Environment] = []string{j.Facts.EnvironmentName}
	}
	if f.Ref && j.Facts.Ref != "" {
		info.Extra[extras.Ref] = []string{j.Facts.Ref}
	}
	if f.Ref {
		switch j.Facts.RefProtected {
		case job.Protected:
			info.Extra[extras.RefProtected] = []string{"true"}
		case job.Unprotected:
			info.Extra[extras.RefProtected] = []string{"false"}
		}
	}
	if f.Groups && len(j.GroupIDs) > 0 {
		groups := make([]string, len(j.GroupIDs))
		for i, id := range j.GroupIDs {
			groups[i] = decimal(id)
		}
		info.Extra[extras.Group] = groups
	}
	if f.Roles && len(j.Roles) > 0 {
		info.Extra[extras.Role] = j.Roles
	}
}
