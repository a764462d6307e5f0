package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestEnvironmentTiers(t *testing.T) {
	require := policy.Requirements{EnvironmentTiers: policy.EnvironmentTiers{"staging", "production"}}
	testRequirement(t, []requirementRow{
		{name: "one of them", require: require, job: inEnvironment("x", "production", "")},
		{name: "another", require: require, job: inEnvironment("x", "other", ""),
			unmet: `its environment's tier must be one of "staging", "production", and the job's is "other"`},
		{name: "no environment", require: require,
			unmet: `its environment's tier must be one of "staging", "production", and the job has no environment`},
	})
}

func TestEnvironmentTiers_NeedNothingBesideTheIdentity(t *testing.T) {
	wantNeeds(t, policy.Requirements{EnvironmentTiers: policy.EnvironmentTiers{"staging"}}, job.Needs{})
}
