package authz_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
)

// Each requirement, for a job that this instance knows and for one that it has to judge by its extras.
func TestRequirements(t *testing.T) {
	environments := func(patterns ...string) authz.Requirements { return authz.Requirements{Environments: patterns} }
	inProd := inEnvironment("production", "production", "")
	protection := func(p job.Protection) func(*job.Job) {
		return func(j *job.Job) { j.Facts.Ref, j.Facts.RefProtected = "feature", p }
	}
	rows := []struct {
		name    string
		require authz.Requirements
		job     *job.Job // nil: unknown here
		extra   map[string][]string
		refused string // a part of the reason; empty: met
	}{
		{"environment by its slug", environments("production"), knownJob(inProd), nil, ""},
		{"environment by the extras' slug", environments("production"), nil, extra(slugKey, "production", tierKey, "other"), ""},
		{"another environment", environments("production"), knownJob(inEnvironment("staging", "staging", "")), nil, `slug "staging"`},
		{"no environment", environments("production", "*"), knownJob(), nil, `one of "production", "*", and the job has none`},
		{"no environment in the extras", environments("production", "*"), nil, extra(), "the job has none"},
		{"any environment", environments("*"), knownJob(inProd), nil, ""},
		{"folder", environments("review/*"), knownJob(inEnvironment("review-1-x", "other", "review/1")), nil, ""},
		{"folder, by the extras' name", environments("review/*"), nil, extra(slugKey, "review-1-x", tierKey, "other", nameKey, "review/1"), ""},
		{"folder, by the extras' name of a known job", environments("review/*"), knownJob(inEnvironment("review-1-x", "other", "")),
			extra(slugKey, "review-1-x", tierKey, "other", nameKey, "review/1"), ""},
		{"prefix is anchored", environments("prod*"), knownJob(inEnvironment("preprod", "other", "preprod")), nil, `the job's is "preprod"`},
		{"slug of another name", environments("eu/prod"), knownJob(inEnvironment("eu-prod-lb01nz", "other", "eu-prod-lb01nz")), nil, "eu-prod-lb01nz"},
		{"slug of the name, which is not known", environments("eu/prod"), knownJob(inEnvironment("eu-prod-lb01nz", "other", "")), nil,
			"could not be learnt: let the project's job tokens read environments"},
		{"slug of the name, in the extras alone", environments("eu/prod"), nil, extra(slugKey, "eu-prod-lb01nz", tierKey, "other"), "could not be learnt"},
		{"name not known, with the learner's hint", environments("eu/*"), knownJob(inProd, func(j *job.Job) {
			j.Facts.EnvironmentUnknown = "the job token may not read environments"
		}), nil, "could not be learnt: the job token may not read environments"},
		{"name that only looks like the slug's", environments("production"), knownJob(inEnvironment("production", "other", "production-")), nil,
			`the job's is "production-"`},

		{"tier", authz.Requirements{EnvironmentTiers: []string{"staging", "production"}}, knownJob(inProd), nil, ""},
		{"tier by the extras", authz.Requirements{EnvironmentTiers: []string{"production"}}, nil, extra(slugKey, "x", tierKey, "production"), ""},
		{"another tier", authz.Requirements{EnvironmentTiers: []string{"staging"}}, knownJob(inProd), nil,
			`tier must be one of "staging", and the job's is "production"`},
		{"no tier", authz.Requirements{EnvironmentTiers: []string{"staging"}}, knownJob(), nil, "the job has no environment"},

		{"protected ref", authz.Requirements{ProtectedRef: true}, knownJob(protection(job.Protected)), nil, ""},
		{"protected ref by the extras", authz.Requirements{ProtectedRef: true}, nil, extra(protectedKey, "true"), ""},
		{"protected ref by a known job's extras", authz.Requirements{ProtectedRef: true}, knownJob(), extra(protectedKey, "true"), ""},
		{"unprotected ref", authz.Requirements{ProtectedRef: true}, knownJob(protection(job.Unprotected)), nil, `the ref "feature" is not protected`},
		{"unprotected ref by the extras", authz.Requirements{ProtectedRef: true}, nil, extra(refKey, "feature", protectedKey, "false"),
			`the ref "feature" is not protected`},
		{"unprotected since the login", authz.Requirements{ProtectedRef: true}, knownJob(protection(job.Unprotected)), extra(protectedKey, "true"),
			"is not protected"},
		{"unprotected at the login", authz.Requirements{ProtectedRef: true}, knownJob(protection(job.Protected)), extra(protectedKey, "false"),
			"is not protected"},
		{"protection not known", authz.Requirements{ProtectedRef: true}, knownJob(protection(job.ProtectionNotKnown)), nil,
			`whether the ref "feature" is protected could not be learnt: give jobgate a tokenFile`},
		{"protection not known, with the learner's hint", authz.Requirements{ProtectedRef: true}, knownJob(func(j *job.Job) {
			j.Facts.ProtectionUnknown = "a job token may not read tags"
		}), nil, "could not be learnt: a job token may not read tags"},
		{"protection not in the extras", authz.Requirements{ProtectedRef: true}, nil, extra(refKey, "main"), "could not be learnt"},

		{"project", authz.Requirements{Projects: []int64{149, 150}}, knownJob(), nil, ""},
		{"project by the extras", authz.Requirements{Projects: []int64{150}}, nil, extra(), ""},
		{"another project", authz.Requirements{Projects: []int64{15, 1500}}, knownJob(), nil, "its project must be one of 15, 1500"},

		{"group", authz.Requirements{Groups: []int64{22, 23}}, knownJob(), nil, ""},
		{"group by the extras", authz.Requirements{Groups: []int64{23}}, nil, extra(groupKey, "25,23"), ""},
		{"another group", authz.Requirements{Groups: []int64{22}}, knownJob(), nil, "in one of the groups 22"},
		{"a group of the extras that is no more", authz.Requirements{Groups: []int64{22}}, knownJob(), extra(groupKey, "22"), "in one of the groups 22"},
		{"no groups", authz.Requirements{Groups: []int64{22}}, knownJob(func(j *job.Job) { j.GroupIDs = nil }), nil, "in one of the groups 22"},
		{"another group by the extras", authz.Requirements{Groups: []int64{22}}, nil, extra(groupKey, "25,23"), "in one of the groups 22"},
		{"no groups by the extras", authz.Requirements{Groups: []int64{22}}, nil, extra(groupKey, "[]"), "in one of the groups 22"},
		{"groups not in the extras", authz.Requirements{Groups: []int64{22}}, nil, extra(), "the groups are not known here yet"},

		{"role", authz.Requirements{Roles: []string{"maintainer", "developer"}}, knownJob(), nil, ""},
		{"role by the extras", authz.Requirements{Roles: []string{"maintainer"}}, nil, extra(roleKey, "guest,maintainer"), ""},
		{"another role", authz.Requirements{Roles: []string{"maintainer", "owner"}}, knownJob(), nil, `the roles "maintainer", "owner"`},
		{"a role of the extras that is no more", authz.Requirements{Roles: []string{"owner"}}, knownJob(), extra(roleKey, "owner"), `the roles "owner"`},
		{"another role by the extras", authz.Requirements{Roles: []string{"owner"}}, nil, extra(roleKey, "guest"), `the roles "owner"`},
		{"roles not in the extras", authz.Requirements{Roles: []string{"owner"}}, nil, extra(), "the roles are not known here yet"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.extra == nil {
				row.extra = extraOf(row.job)
			}
			want := authz.RuleRestriction
			if row.refused == "" {
				want = noOpinion
			}
			a := newAuthorizer(t, registry{job: row.job}, policy(authz.Restriction{Name: "r", Require: row.require}))
			if message := wantRule(t, a, as(row.extra), want); !strings.Contains(message, row.refused) {
				t.Errorf("message is %q, want %q in it", message, row.refused)
			}
		})
	}
}

// Of six requirements that a job meets, each denies alone as soon as it is not met, and its reason names it alone.
func TestRequirements_AllMustHold(t *testing.T) {
	all := authz.Requirements{
		Environments: []string{"production"}, EnvironmentTiers: []string{"production"}, ProtectedRef: true,
		Projects: []int64{150}, Groups: []int64{23}, Roles: []string{"developer"},
	}
	j := knownJob(inEnvironment("production", "production", "production"), func(j *job.Job) { j.Facts.RefProtected = job.Protected })
	unprotected := *j
	unprotected.Facts.RefProtected = job.Unprotected
	rows := []struct {
		name   string
		job    *job.Job
		change func(*authz.Requirements)
		says   string
	}{
		{"all met", j, func(*authz.Requirements) {}, ""},
		{"environment", j, func(r *authz.Requirements) { r.Environments = []string{"staging"} }, "environment must"},
		{"tier", j, func(r *authz.Requirements) { r.EnvironmentTiers = []string{"staging"} }, "tier must"},
		{"ref", &unprotected, func(*authz.Requirements) {}, "ref must"},
		{"project", j, func(r *authz.Requirements) { r.Projects = []int64{1} }, "project must be one"},
		{"group", j, func(r *authz.Requirements) { r.Groups = []int64{1} }, "project must be in"},
		{"role", j, func(r *authz.Requirements) { r.Roles = []string{"owner"} }, "user must"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			require, want := all, authz.RuleRestriction
			if row.change(&require); row.says == "" {
				want = noOpinion
			}
			a := newAuthorizer(t, registry{job: row.job}, policy(authz.Restriction{Name: "r", Require: require}))
			message := wantRule(t, a, as(extraOf(row.job)), want)
			if !strings.Contains(message, row.says) || strings.Count(message, " must ") > 1 {
				t.Errorf("message is %q, want %q in it and nothing else that must be", message, row.says)
			}
		})
	}
}

// The agent's own entry, as GitLab returned it last. Package rule tests the rule itself.
func TestCIAccess_IsJudgedForKnownJobs(t *testing.T) {
	entry := func(environments []string, protectedOnly bool) func(*job.Job) {
		return func(j *job.Job) {
			j.Agents[0].Configuration.Environments = environments
			j.Agents[0].Configuration.ProtectedBranchesOnly = protectedOnly
		}
	}
	rows := []struct {
		name    string
		job     *job.Job
		filters bool
		extra   map[string][]string
		refused string // a part of the reason; empty: satisfied
	}{
		{"no list", knownJob(), true, nil, ""},
		{"match", knownJob(entry([]string{"production"}, false), inEnvironment("production", "other", "")), true, nil, ""},
		{"mismatch", knownJob(entry([]string{"prod*"}, false), inEnvironment("preprod", "other", "preprod")), true, nil, `the job's is "preprod"`},
		{"mismatch by the extras' name", knownJob(entry([]string{"prod*"}, false), inEnvironment("preprod", "other", "")), true,
			extra(slugKey, "preprod", tierKey, "other", nameKey, "preprod"), `the job's is "preprod"`},
		{"name not known", knownJob(entry([]string{"prod*"}, false), inEnvironment("preprod", "other", "")), true, nil, ""},
		{"no environment", knownJob(entry([]string{"*"}, false)), true, nil, "the job has none"},
		{"blank entry", knownJob(entry([]string{""}, false)), true, nil, "the job has none"},
		{"protected refs, vouched for", knownJob(entry(nil, true)), true, nil, ""},
		{"protected refs, not known", knownJob(entry(nil, true)), false, nil, "could not be learnt"},
		{"protected refs, protected", knownJob(entry(nil, true), func(j *job.Job) { j.Facts.RefProtected = job.Protected }), false, nil, ""},
		{"protected refs, by the extras", knownJob(entry(nil, true)), false, extra(protectedKey, "true"), ""},
		{"protected refs, not protected", knownJob(entry(nil, true), func(j *job.Job) { j.Facts.RefProtected = job.Unprotected }), false,
			extra(protectedKey, "true"), "is not protected"},
		{"another agent's entry", knownJob(func(j *job.Job) {
			j.Agents = append(j.Agents, job.Agent{ID: 5, ConfigProjectID: 7})
			j.Agents[1].Configuration.Environments = []string{"production"}
		}), true, nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.extra == nil {
				row.extra = extraOf(row.job)
			}
			want := authz.RuleCIAccess
			if row.refused == "" {
				want = noOpinion
			}
			p := policy()
			p.FiltersProtectedBranches = row.filters
			message := wantRule(t, newAuthorizer(t, registry{job: row.job}, p), as(row.extra), want)
			if !strings.Contains(message, row.refused) {
				t.Errorf("message is %q, want %q in it", message, row.refused)
			}
		})
	}
}
