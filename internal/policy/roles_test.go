package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestRoles(t *testing.T) {
	require := policy.Requirements{Roles: policy.Roles{"maintainer", "owner"}}
	of := func(f job.Fact[[]string]) job.Job { return job.Job{Roles: f} }
	const must = `its user must have one of the roles "maintainer", "owner" in the project, and `
	testRequirement(t, []requirementRow{
		{name: "one of them", require: require, job: of(job.KnownFact([]string{"guest", "developer", "maintainer"}))},
		{name: "others", require: require, job: of(job.KnownFact([]string{"guest", "developer"})), unmet: must + "has none of them"},
		{name: "none", require: require, job: of(job.KnownFact[[]string](nil)), unmet: must + "has none of them"},
		{name: "not known", require: require, unmet: must + "the user's roles are not known: " + tryAgain},
		{name: "not known, with the reason", require: require, job: of(job.Fact[[]string]{Why: "the ID token does not say it"}),
			unmet: must + "the user's roles are not known: the ID token does not say it"},
		{name: "a value that is not known does not count", require: require, job: of(job.Fact[[]string]{Value: []string{"owner"}}),
			unmet: must + "the user's roles are not known: " + tryAgain},
	})
}

func TestRoles_Validation(t *testing.T) {
	testValidation(t, []validationRow{
		{name: "of now and later", require: policy.Requirements{Roles: policy.Roles{"owner", "security_manager", "something_new"}}},
		{name: "no name of GitLab's", require: policy.Requirements{Roles: policy.Roles{"", "Maintainer"}}, errors: []string{
			`require.roles[0]: Invalid value: "": must not be blank`,
			`require.roles[1]: Invalid value: "Maintainer": must be lower-case letters and underscores, as in security_manager`,
		}},
	})
}

func TestRoles_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{Roles: policy.Roles{"owner"}}, job.Needs{Facts: job.FactRoles})
}
