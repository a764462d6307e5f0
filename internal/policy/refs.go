package policy

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Refs are patterns for the name of the job's branch or tag. No merge request's pipeline matches: its code may come from
// anyone who can open one, whatever its branch is called.
type Refs []string

// validate refuses full refs: no branch or tag has such a name (GitLab's lib/gitlab/git_ref_validator.rb), or only merge
// requests do.
func (r Refs) validate(path *field.Path) field.ErrorList {
	fullRefs := []string{"refs/heads/", "refs/tags/", "refs/remotes/", "refs/merge-requests/"}
	errs := NoBlank(r, path)
	for i, entry := range r {
		if slices.ContainsFunc(fullRefs, func(prefix string) bool { return strings.HasPrefix(entry, prefix) }) {
			errs = append(errs, field.Invalid(path.Index(i), entry, "must be the short name of a branch or tag, as in main"))
		}
	}
	return errs
}

func (r Refs) needs() job.Needs { return job.Needs{Facts: job.FactRef} }

func (r Refs) met(j *job.Job) bool {
	return !j.Ref.MergeRequest && MatchAny(r, j.Ref.Name)
}

func (r Refs) unmet(j *job.Job) string {
	is := "the job's is " + Quote(j.Ref.Name)
	switch {
	case j.Ref.MergeRequest:
		is = "the job runs in a merge request's pipeline, which matches none"
	case j.Ref.Name == "":
		is = "the job's is not known: " + unknown(j.Ref.Why)
	}
	return fmt.Sprintf("its branch or tag must be one of %s, and %s", List(r), is)
}
