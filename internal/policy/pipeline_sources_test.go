package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestPipelineSources(t *testing.T) {
	require := policy.Requirements{PipelineSources: policy.PipelineSources{"push", "merge_request_event"}}
	from := func(f job.Fact[string]) job.Job { return job.Job{PipelineSource: f} }
	const must = `its pipeline must have been started by one of "push", "merge_request_event", and `
	testRequirement(t, []requirementRow{
		{name: "one of them", require: require, job: from(job.KnownFact("push"))},
		{name: "a merge request, which is named", require: require, job: from(job.KnownFact("merge_request_event"))},
		{name: "another", require: require, job: from(job.KnownFact("web")), unmet: must + `the job's was started by "web"`},
		{name: "not known", require: require, unmet: must + "what started the job's is not known: " + tryAgain},
		{name: "not known, with the reason", require: require, job: from(job.Fact[string]{Why: "this GitLab is too old"}),
			unmet: must + "what started the job's is not known: this GitLab is too old"},
	})
}

func TestPipelineSources_Validation(t *testing.T) {
	testValidation(t, []validationRow{
		{name: "of now and later", require: policy.Requirements{PipelineSources: policy.PipelineSources{"push", "parent_pipeline", "something_new"}}},
		{name: "no name of GitLab's", require: policy.Requirements{PipelineSources: policy.PipelineSources{"Push", "", "web ", "*"}}, errors: []string{
			`require.pipelineSources[1]: Invalid value: "": must not be blank`,
			`require.pipelineSources[0]: Invalid value: "Push": must be lower-case letters and underscores, as in merge_request_event`,
			`require.pipelineSources[2]: Invalid value: "web ": must be lower-case letters and underscores, as in merge_request_event`,
			`require.pipelineSources[3]: Invalid value: "*": must be lower-case letters and underscores, as in merge_request_event`,
		}},
	})
}

func TestPipelineSources_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{PipelineSources: policy.PipelineSources{"push"}}, job.Needs{Facts: job.FactPipelineSource})
}
