package policy

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/job"
)

// RefTypes are among branch and tag.
type RefTypes []string

func (r RefTypes) needs() job.Needs { return job.Needs{Facts: job.FactRefType} }

func (r RefTypes) met(j *job.Job) bool { return slices.Contains(r, string(j.Ref.Type)) }

func (r RefTypes) unmet(j *job.Job) string {
	is := fmt.Sprintf("the job runs for a %s", j.Ref.Type)
	if j.Ref.Type == "" {
		is = "what the job runs for is not known: " + unknown(j.Ref.Why)
	}
	return fmt.Sprintf("it must run for one of %s, and %s", List(r), is)
}
