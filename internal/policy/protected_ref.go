package policy

import (
	"fmt"

	"github.com/jobgate/jobgate/internal/job"
)

// ProtectedRef asks for a protected branch or tag.
type ProtectedRef bool

func (p ProtectedRef) needs() job.Needs { return job.Needs{Facts: job.FactRef | job.FactRefProtected} }

func (p ProtectedRef) met(j *job.Job) bool { return refIsProtected(&j.Ref) }

func (p ProtectedRef) unmet(j *job.Job) string {
	return "its ref must be protected, and " + protectionOf(&j.Ref)
}

func refIsProtected(r *job.Ref) bool { return r.Protection == job.Protected && !r.MergeRequest }

// protectionOf says what keeps the job's ref from counting as protected.
func protectionOf(r *job.Ref) string {
	ref := "the job's ref"
	if r.Name != "" {
		ref = "the job's ref " + Quote(r.Name)
	}
	switch {
	case r.MergeRequest:
		return "the job runs in a merge request's pipeline, which never counts as protected"
	case r.Protection == job.Unprotected:
		return ref + " is not protected"
	default:
		return fmt.Sprintf("whether %s is protected is not known: %s", ref, unknown(r.ProtectionWhy))
	}
}
