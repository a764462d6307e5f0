package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestGroups(t *testing.T) {
	require := policy.Requirements{Groups: policy.Groups{22, 23}}
	in := func(f job.Fact[[]int64]) job.Job { return job.Job{Groups: f} }
	const must = "its project must be in one of the groups 22, 23, and "
	testRequirement(t, []requirementRow{
		{name: "the project's own group", require: require, job: in(job.KnownFact([]int64{23, 9}))},
		{name: "a group above it", require: require, job: in(job.KnownFact([]int64{25, 23}))},
		{name: "another group", require: require, job: in(job.KnownFact([]int64{2, 2223})), unmet: must + "it is in none of them"},
		{name: "no group", require: require, job: in(job.KnownFact[[]int64](nil)), unmet: must + "it is in none of them"},
		{name: "not known", require: require, unmet: must + "the project's groups are not known: " + tryAgain},
		{name: "not known, with the reason", require: require, job: in(job.Fact[[]int64]{Why: "give jobgate a tokenFile"}),
			unmet: must + "the project's groups are not known: give jobgate a tokenFile"},
		{name: "a value that is not known does not count", require: require, job: in(job.Fact[[]int64]{Value: []int64{23}}),
			unmet: must + "the project's groups are not known: " + tryAgain},
	})
}

func TestGroups_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{Groups: policy.Groups{23}}, job.Needs{Facts: job.FactGroups})
}
