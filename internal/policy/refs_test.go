package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestRefs(t *testing.T) {
	require := func(patterns ...string) policy.Requirements { return policy.Requirements{Refs: patterns} }
	on := func(r job.Ref) job.Job { return job.Job{Ref: r} }
	const inMergeRequest = "and the job runs in a merge request's pipeline, which matches none"
	testRequirement(t, []requirementRow{
		{name: "branch", require: require("main"), job: on(job.Ref{Name: "main", Type: job.Branch})},
		{name: "tag", require: require("main", "v*"), job: on(job.Ref{Name: "v1.2", Type: job.Tag})},
		{name: "wildcard across a slash", require: require("release/*"), job: on(job.Ref{Name: "release/1/2"})},
		{name: "wildcard is anchored", require: require("main*"), job: on(job.Ref{Name: "not-main"}),
			unmet: `its branch or tag must be one of "main*", and the job's is "not-main"`},
		{name: "capitals differ", require: require("main"), job: on(job.Ref{Name: "Main"}),
			unmet: `its branch or tag must be one of "main", and the job's is "Main"`},
		{name: "not known", require: require("*"), unmet: `its branch or tag must be one of "*", and the job's is not known: ` + tryAgain},
		{name: "not known, with the reason", require: require("*"), job: on(job.Ref{Why: "this GitLab is too old"}),
			unmet: `its branch or tag must be one of "*", and the job's is not known: this GitLab is too old`},
		{name: "a merge request of a branch of that name", require: require("main"), job: on(job.Ref{Name: "main", MergeRequest: true}),
			unmet: `its branch or tag must be one of "main", ` + inMergeRequest},
		{name: "a merge request's own ref, named", require: require("refs/merge-requests/1/head"),
			job:   on(job.Ref{Name: "refs/merge-requests/1/head", MergeRequest: true}),
			unmet: `its branch or tag must be one of "refs/merge-requests/1/head", ` + inMergeRequest},
		{name: "a fork's merge request, whose ref is another project's", require: require("*"),
			job:   on(job.Ref{MergeRequest: true, Why: "the ref is another project's"}),
			unmet: `its branch or tag must be one of "*", ` + inMergeRequest},
	})
}

func TestRefs_Validation(t *testing.T) {
	testValidation(t, []validationRow{
		{name: "any text", require: policy.Requirements{Refs: policy.Refs{"main", "release/*", "Größe"}}},
		{name: "blank", require: policy.Requirements{Refs: policy.Refs{" "}}, errors: []string{`require.refs[0]: Invalid value: " ": must not be blank`}},
		{name: "full refs", require: policy.Requirements{Refs: policy.Refs{"refs/heads/main", "refs/merge-requests/*"}}, errors: []string{
			`require.refs[0]: Invalid value: "refs/heads/main": must be the short name of a branch or tag, as in main`,
			`require.refs[1]: Invalid value: "refs/merge-requests/*": must be the short name of a branch or tag, as in main`,
		}},
	})
}

func TestRefs_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{Refs: policy.Refs{"main"}}, job.Needs{Facts: job.FactRef})
}
