package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestRefTypes(t *testing.T) {
	require := policy.Requirements{RefTypes: policy.RefTypes{"tag"}}
	on := func(r job.Ref) job.Job { return job.Job{Ref: r} }
	testRequirement(t, []requirementRow{
		{name: "it", require: require, job: on(job.Ref{Type: job.Tag})},
		{name: "either", require: policy.Requirements{RefTypes: policy.RefTypes{"branch", "tag"}}, job: on(job.Ref{Type: job.Branch})},
		{name: "the other", require: require, job: on(job.Ref{Type: job.Branch}), unmet: `it must run for one of "tag", and the job runs for a branch`},
		{name: "not known", require: require, unmet: `it must run for one of "tag", and what the job runs for is not known: ` + tryAgain},
		{name: "not known, with the reason", require: require, job: on(job.Ref{Why: "the ref is another project's"}),
			unmet: `it must run for one of "tag", and what the job runs for is not known: the ref is another project's`},
	})
}

func TestRefTypes_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{RefTypes: policy.RefTypes{"tag"}}, job.Needs{Facts: job.FactRefType})
}
