package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestProjects(t *testing.T) {
	testRequirement(t, []requirementRow{
		{name: "one of them", require: policy.Requirements{Projects: policy.Projects{149, 150}}, job: job.Job{ProjectID: 150}},
		{name: "another", require: policy.Requirements{Projects: policy.Projects{15, 1500}}, job: job.Job{ProjectID: 150},
			unmet: "its project must be one of 15, 1500, and the job's is 150"},
	})
}

func TestProjects_NeedNothingBesideTheIdentity(t *testing.T) {
	wantNeeds(t, policy.Requirements{Projects: policy.Projects{150}}, job.Needs{})
}
