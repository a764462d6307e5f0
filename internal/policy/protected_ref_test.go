package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestProtectedRef(t *testing.T) {
	require := policy.Requirements{ProtectedRef: true}
	on := func(r job.Ref) job.Job { return job.Job{Ref: r} }
	const must = "its ref must be protected, and "
	const inMergeRequest = must + "the job runs in a merge request's pipeline, which never counts as protected"
	testRequirement(t, []requirementRow{
		{name: "protected", require: require, job: on(job.Ref{Name: "main", Protection: job.Protected})},
		{name: "protected, name not known", require: require, job: on(job.Ref{Protection: job.Protected})},
		{name: "not protected", require: require, job: on(job.Ref{Name: "feature", Protection: job.Unprotected}),
			unmet: must + `the job's ref "feature" is not protected`},
		{name: "not protected, name not known", require: require, job: on(job.Ref{Protection: job.Unprotected}),
			unmet: must + "the job's ref is not protected"},
		{name: "not known", require: require, job: on(job.Ref{Name: "v1"}),
			unmet: must + `whether the job's ref "v1" is protected is not known: ` + tryAgain},
		{name: "not known, with the reason", require: require, job: on(job.Ref{ProtectionWhy: "a job token may not read tags"}),
			unmet: must + "whether the job's ref is protected is not known: a job token may not read tags"},
		{name: "a merge request", require: require, job: on(job.Ref{Name: "main", Protection: job.Unprotected, MergeRequest: true}),
			unmet: inMergeRequest},
		{name: "a merge request's own ref", require: require, job: on(job.Ref{Name: "refs/merge-requests/1/head", MergeRequest: true}),
			unmet: inMergeRequest},
		{name: "a merge request whose branch is protected", require: require,
			job: on(job.Ref{Name: "main", Protection: job.Protected, MergeRequest: true}), unmet: inMergeRequest},
	})
}

// The ref itself is needed as well: it shows a merge request.
func TestProtectedRef_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{ProtectedRef: true}, job.Needs{Facts: job.FactRef | job.FactRefProtected})
}
