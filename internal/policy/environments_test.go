package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestEnvironments(t *testing.T) {
	require := func(patterns ...string) policy.Requirements { return policy.Requirements{Environments: patterns} }
	notMatching := func(slug string, patterns ...string) job.Job {
		return job.Job{Environment: job.Environment{Slug: slug, Tier: "other", NotMatching: patterns}}
	}
	refused := job.Job{Environment: job.Environment{Slug: "eu-prod-lb01nz", Tier: "other", Name: job.Fact[string]{
		Why: "let the project's job tokens read environments", Refused: true,
	}}}
	testRequirement(t, []requirementRow{
		{name: "name", require: require("production"), job: inEnvironment("production", "other", "production")},
		{name: "second of two", require: require("production", "staging"), job: inEnvironment("staging", "other", "staging")},
		{name: "another name", require: require("production"), job: inEnvironment("staging", "other", "staging"),
			unmet: `its environment must be one of "production", and the job's is "staging"`},
		{name: "a name goes before its slug", require: require("production"), job: inEnvironment("production", "other", "production-"),
			unmet: `its environment must be one of "production", and the job's is "production-"`},
		{name: "an environment that is named like another one's slug", require: require("eu/prod"),
			job:   inEnvironment("eu-prod-lb01nz", "other", "eu-prod-lb01nz"),
			unmet: `its environment must be one of "eu/prod", and the job's is "eu-prod-lb01nz"`},
		{name: "wildcard", require: require("prod/*"), job: inEnvironment("prod-eu-vbpl9e", "other", "prod/eu")},
		{name: "wildcard is anchored", require: require("prod*"), job: inEnvironment("preprod", "other", "preprod"),
			unmet: `its environment must be one of "prod*", and the job's is "preprod"`},
		{name: "any, name not known", require: require("*"), job: inEnvironment("whatever", "other", "")},
		{name: "any, in more stars", require: require("***"), job: inEnvironment("whatever", "other", "")},
		{name: "any beside a blank entry", require: require(" ", "*"), job: inEnvironment("whatever", "other", "")},

		{name: "an equal slug proves nothing", require: require("production"), job: inEnvironment("production", "other", ""),
			unmet: `its environment must be one of "production", and the full name of the job's environment (slug "production") is not known: ` + tryAgain},
		{name: "the slug of the pattern proves nothing", require: require("eu/prod"), job: inEnvironment("eu-prod-lb01nz", "other", ""),
			unmet: `its environment must be one of "eu/prod", and the full name of the job's environment (slug "eu-prod-lb01nz") is not known: ` + tryAgain},
		{name: "a slug that the pattern cannot have", require: require("production", "staging"), job: inEnvironment("preprod", "other", ""),
			unmet: `its environment must be one of "production", "staging", and the job's environment (slug "preprod") is another one`},
		{name: "wildcard, name not known", require: require("prod*"), job: inEnvironment("production", "other", ""),
			unmet: `its environment must be one of "prod*", and the full name of the job's environment (slug "production") is not known: ` + tryAgain},
		{name: "name not known, with the reason", require: require("eu/prod"), job: refused,
			unmet: `its environment must be one of "eu/prod", and the full name of the job's environment (slug "eu-prod-lb01nz") is not known: ` +
				"let the project's job tokens read environments"},
		{name: "name not known, but it is none of these", require: require("production", "prod*"), job: notMatching("production", "production", "prod*"),
			unmet: `its environment must be one of "production", "prod*", and the job's environment (slug "production") is another one`},
		{name: "name not known, and only one of these is ruled out", require: require("production", "prod*"), job: notMatching("production", "production"),
			unmet: `its environment must be one of "production", "prod*", and the full name of the job's environment (slug "production") is not known: ` + tryAgain},

		{name: "no environment", require: require("production"),
			unmet: `its environment must be one of "production", and the job has none`},
		{name: "no environment, any", require: require("*"), unmet: `its environment must be one of "*", and the job has none`},
		{name: "a name without an environment is none", require: require("production"), job: inEnvironment("", "", "production"),
			unmet: `its environment must be one of "production", and the job has none`},
		{name: "blank", require: require("", " "), job: inEnvironment("x", "other", " "),
			unmet: `its environment must be one of "", " ", and the job's is " "`},
		{name: "many", require: require("a", "b", "c", "d", "e", "f", "g"), job: inEnvironment("x", "other", "x"),
			unmet: `its environment must be one of "a", "b", "c", "d", "e" and 2 more, and the job's is "x"`},
	})
}

func TestEnvironments_Validation(t *testing.T) {
	testValidation(t, []validationRow{
		{name: "any text", require: policy.Requirements{Environments: policy.Environments{"*", "eu/prod", "Größe 1"}}},
		{name: "blank", require: policy.Requirements{Environments: policy.Environments{"", "a", "\t"}}, errors: []string{
			`require.environments[0]: Invalid value: "": must not be blank`,
			`require.environments[2]: Invalid value: "\t": must not be blank`,
		}},
	})
}

func TestEnvironments_Needs(t *testing.T) {
	wantNeeds(t, policy.Requirements{Environments: policy.Environments{"production", "prod/*"}},
		job.Needs{Facts: job.FactEnvironment, Environments: []string{"production", "prod/*"}})
}
