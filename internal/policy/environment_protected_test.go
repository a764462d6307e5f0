package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestEnvironmentProtected(t *testing.T) {
	require := policy.Requirements{EnvironmentProtected: true}
	with := func(j job.Job, protected job.Fact[bool]) job.Job {
		j.Environment.Protected = protected
		return j
	}
	named := inEnvironment("eu-prod-lb01nz", "production", "eu/prod")
	unnamed := inEnvironment("eu-prod-lb01nz", "production", "")
	const must = "its environment must be protected in GitLab, and "
	testRequirement(t, []requirementRow{
		{name: "protected", require: require, job: with(named, job.KnownFact(true))},
		{name: "protected, by an identity without the name", require: require, job: with(unnamed, job.KnownFact(true))},
		{name: "not protected", require: require, job: with(named, job.KnownFact(false)), unmet: must + "the job's is not"},
		{name: "not known", require: require, job: named, unmet: must + `whether the job's ("eu/prod") is protected is not known: ` + tryAgain},
		{name: "not known, with the reason", require: require, job: with(named, job.Fact[bool]{Why: "give jobgate a tokenFile"}),
			unmet: must + `whether the job's ("eu/prod") is protected is not known: give jobgate a tokenFile`},
		{name: "not even the name is known", require: require, job: unnamed,
			unmet: must + `the full name of the job's environment (slug "eu-prod-lb01nz") is not known: ` + tryAgain},
		{name: "no environment", require: require, unmet: must + "the job has none"},
		{name: "a protection without an environment is none", require: require, job: with(job.Job{}, job.KnownFact(true)),
			unmet: must + "the job has none"},
	})
}

// GitLab protects names, so the name is asked for as well, whatever it is.
func TestEnvironmentProtected_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{EnvironmentProtected: true},
		job.Needs{Facts: job.FactEnvironment | job.FactEnvironmentProtected, AnyEnvironment: true})
}
