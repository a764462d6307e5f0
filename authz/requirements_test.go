package authz_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// Package policy tests each requirement. Here it is met by what this instance knows of the job, or by what the extras say,
// and where both say something, by one of them.
func TestRequirements(t *testing.T) {
	environments := func(patterns ...string) policy.Requirements { return policy.Requirements{Environments: patterns} }
	protectedRef := policy.Requirements{ProtectedRef: true}
	main := policy.Requirements{Refs: policy.Refs{"main"}}
	maintainer := policy.Requirements{Roles: policy.Roles{"maintainer", "developer"}}
	group := policy.Requirements{Groups: policy.Groups{22, 23}}
	inReview := inEnvironment("review-1-x", "other", "")
	const reviewIsUnknown = `the full name of the job's environment (slug "review-1-x") is not known: jobgate could not ask`
	named := func(slug, name string) []string { return []string{slugKey, slug, tierKey, "other", nameKey, name} }
	mergeRequest := func(j *job.Job) { j.Ref.Name, j.Ref.MergeRequest = "main", true }
	rows := []struct {
		name    string
		require policy.Requirements
		job     *job.Job // nil: unknown here
		extra   []string
		refused string // a part of the reason; empty: met
	}{
		{name: "environment, known here", require: environments("review/*"), job: knownJob(inEnvironment("review-1-x", "other", "review/1"))},
		{name: "environment, by the extras", require: environments("review/*"), extra: named("review-1-x", "review/1")},
		{name: "environment, by a known job's extras", require: environments("review/*"), job: knownJob(inReview),
			extra: named("review-1-x", "review/1")},
		{name: "environment's name known to neither", require: environments("review/*"), job: knownJob(inReview), refused: reviewIsUnknown},
		{name: "environment's name not in the extras", require: environments("review/*"),
			extra: []string{slugKey, "review-1-x", tierKey, "other"}, refused: reviewIsUnknown},
		{name: "a slug that is also a name proves nothing", require: environments("production"),
			extra: []string{slugKey, "production", tierKey, "production"}, refused: `(slug "production") is not known: jobgate could not ask`},
		{name: "a name that only the slug resembles", require: environments("production"), extra: named("production", "production-"),
			refused: `the job's is "production-"`},
		{name: "environment's name not known, with the reason", require: environments("eu/*"),
			job: knownJob(inEnvironment("eu-prod-lb01nz", "other", ""), func(j *job.Job) {
				j.Environment.Name = job.Fact[string]{Why: "the job token may not read environments", Refused: true}
			}), refused: "is not known: the job token may not read environments"},
		{name: "no environment in the extras", require: environments("*"), refused: "the job has none"},

		{name: "tier by the extras", require: policy.Requirements{EnvironmentTiers: policy.EnvironmentTiers{"production"}},
			extra: []string{slugKey, "x", tierKey, "production"}},
		{name: "protected environment by the extras", require: policy.Requirements{EnvironmentProtected: true},
			extra: append(named("x", "x"), guardedKey, "true")},
		{name: "unprotected environment by the extras", require: policy.Requirements{EnvironmentProtected: true},
			extra: append(named("x", "x"), guardedKey, "false"), refused: "must be protected in GitLab, and the job's is not"},

		{name: "protected ref, known here", require: protectedRef, job: knownJob(onRef(job.Protected))},
		{name: "protected ref, by the extras", require: protectedRef, extra: []string{protectedKey, "true"}},
		{name: "protected ref, by a known job's extras", require: protectedRef, job: knownJob(), extra: []string{protectedKey, "true"}},
		{name: "unprotected ref, known here", require: protectedRef, job: knownJob(onRef(job.Unprotected)), refused: `the job's ref "feature" is not protected`},
		{name: "unprotected ref, by the extras", require: protectedRef, extra: []string{refKey, "feature", protectedKey, "false"},
			refused: `the job's ref "feature" is not protected`},
		{name: "unprotected since the login", require: protectedRef, job: knownJob(onRef(job.Unprotected)), extra: []string{protectedKey, "true"},
			refused: `the job's ref "feature" is not protected`},
		{name: "unprotected at the login", require: protectedRef, job: knownJob(onRef(job.Protected)), extra: []string{protectedKey, "false"},
			refused: `the job's ref "feature" is not protected`},
		{name: "protection known to neither", require: protectedRef, job: knownJob(onRef(job.ProtectionUnknown)),
			refused: `whether the job's ref "feature" is protected is not known: jobgate could not ask`},
		{name: "protection not known, with the reason", require: protectedRef, job: knownJob(func(j *job.Job) {
			j.Ref.ProtectionWhy = "a job token may not read tags"
		}), refused: "is not known: a job token may not read tags"},

		{name: "ref, known here", require: main, job: knownJob(func(j *job.Job) { j.Ref.Name = "main" })},
		{name: "ref, by the extras", require: main, extra: []string{refKey, "main"}},
		{name: "ref not in the extras", require: main, refused: "is not known: jobgate could not ask"},
		{name: "a merge request's ref, by the extras' source", require: main, extra: []string{refKey, "main", sourceKey, "merge_request_event"},
			refused: "in a merge request's pipeline"},
		{name: "a merge request's ref, by the extras' ref", require: policy.Requirements{Refs: policy.Refs{"*"}},
			extra: []string{refKey, "refs/merge-requests/1/head"}, refused: "in a merge request's pipeline"},
		{name: "a merge request's ref, known here alone", require: main, job: knownJob(mergeRequest), extra: []string{refKey, "main"},
			refused: "in a merge request's pipeline"},
		{name: "a merge request's ref, by a known job's extras", require: main, job: knownJob(func(j *job.Job) { j.Ref.Name = "main" }),
			extra: []string{refKey, "main", sourceKey, "merge_request_event"}, refused: "in a merge request's pipeline"},
		{name: "a merge request's protection never counts", require: protectedRef, job: knownJob(mergeRequest), extra: []string{protectedKey, "true"},
			refused: "in a merge request's pipeline"},
		{name: "a merge request's protection never counts in the extras", require: protectedRef,
			extra: []string{protectedKey, "true", sourceKey, "merge_request_event"}, refused: "in a merge request's pipeline"},
		{name: "ref type by the extras", require: policy.Requirements{RefTypes: policy.RefTypes{"tag"}}, extra: []string{refTypeKey, "tag"}},
		{name: "ref type, which is known better here", require: policy.Requirements{RefTypes: policy.RefTypes{"tag"}},
			job: knownJob(func(j *job.Job) { j.Ref.Type = job.Branch }), extra: []string{refTypeKey, "tag"}, refused: "the job runs for a branch"},
		{name: "pipeline source by the extras", require: policy.Requirements{PipelineSources: policy.PipelineSources{"push"}},
			extra: []string{sourceKey, "push"}},

		{name: "another project", require: policy.Requirements{Projects: policy.Projects{15, 1500}}, refused: "its project must be one of 15, 1500"},

		{name: "group, known here", require: group, job: knownJob()},
		{name: "group by the extras", require: group, extra: []string{groupKey, "25,23"}},
		{name: "a group of the extras that is no longer one", require: policy.Requirements{Groups: policy.Groups{22}}, job: knownJob(),
			extra: []string{groupKey, "22"}, refused: "in one of the groups 22"},
		{name: "no groups by the extras", require: group, extra: []string{groupKey, "[]"}, refused: "in one of the groups 22, 23"},
		{name: "groups not in the extras", require: group, refused: "the project's groups are not known: jobgate could not ask"},
		{name: "groups known by the extras alone", require: group,
			job: knownJob(func(j *job.Job) { j.Groups = job.Fact[[]int64]{Why: "no access token"} }), extra: []string{groupKey, "23"}},

		{name: "role, known here", require: maintainer, job: knownJob()},
		{name: "role by the extras", require: maintainer, extra: []string{roleKey, "guest,maintainer"}},
		{name: "a role of the extras that is no longer one", require: policy.Requirements{Roles: policy.Roles{"owner"}}, job: knownJob(),
			extra: []string{roleKey, "owner"}, refused: `the roles "owner"`},
		{name: "roles not in the extras", require: maintainer, refused: "the user's roles are not known: jobgate could not ask"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleRestriction
			if row.refused == "" {
				want = noOpinion
			}
			a := newAuthorizer(registry{job: row.job}, rules(policy.Restriction{Name: "r", Require: row.require}))
			if message := wantRule(t, a, as(extraOf(row.job, row.extra...)), want); !strings.Contains(message, row.refused) {
				t.Errorf("message is %q, want %q in it", message, row.refused)
			}
		})
	}
}

// The agent's own entry, as GitLab returned it last. Package policy tests the rule itself.
func TestCIAccess_IsJudgedForKnownJobs(t *testing.T) {
	wildcard := asking(job.Configuration{AccessAs: job.AsCIJob, Environments: []string{"prod*"}})
	literal := asking(job.Configuration{AccessAs: job.AsCIJob, Environments: []string{"production"}})
	protectedOnly := asking(job.Configuration{AccessAs: job.AsCIJob, ProtectedBranchesOnly: true})
	preprod := inEnvironment("preprod", "other", "")
	refusing := func(j *job.Job) {
		j.Environment.Name = job.Fact[string]{Why: "the job token may not read environments", Refused: true}
	}
	rows := []struct {
		name       string
		job        *job.Job
		ignores    bool // GitLab does not filter by protected_branches_only
		extra      []string
		refused    string // a part of the reason; empty: satisfied
		unverified float64
	}{
		{name: "no list", job: knownJob()},
		{name: "match", job: knownJob(literal, inEnvironment("production", "other", ""))},
		{name: "mismatch", job: knownJob(wildcard, inEnvironment("preprod", "other", "preprod")), refused: `the job's is "preprod"`},
		{name: "mismatch by the extras' name", job: knownJob(wildcard, preprod), extra: []string{nameKey, "preprod"}, refused: `the job's is "preprod"`},
		{name: "match by the extras' name", job: knownJob(wildcard, inEnvironment("prod-eu", "other", "")), extra: []string{nameKey, "prod-eu"}},
		{name: "name not known while GitLab is in trouble", job: knownJob(wildcard, preprod), refused: "is not known: jobgate could not ask"},
		{name: "name that GitLab refuses to say", job: knownJob(wildcard, preprod, refusing), unverified: 1},
		{name: "name that GitLab refuses to say, and the extras tell", job: knownJob(wildcard, preprod, refusing),
			extra: []string{nameKey, "preprod"}, refused: `the job's is "preprod"`},
		{name: "no environment", job: knownJob(asking(job.Configuration{Environments: []string{"*"}})), refused: "the job has none"},
		{name: "blank entry", job: knownJob(asking(job.Configuration{Environments: []string{""}})), refused: "the job has none"},
		{name: "protected refs, filtered by GitLab", job: knownJob(protectedOnly)},
		{name: "protected refs, not known", job: knownJob(protectedOnly), ignores: true, refused: "is protected is not known"},
		{name: "protected refs, protected", job: knownJob(protectedOnly, onRef(job.Protected)), ignores: true},
		{name: "protected refs, by the extras", job: knownJob(protectedOnly), ignores: true, extra: []string{protectedKey, "true"}},
		{name: "protected refs, not protected", job: knownJob(protectedOnly, onRef(job.Unprotected)), ignores: true,
			extra: []string{protectedKey, "true"}, refused: `the job's ref "feature" is not protected`},
		{name: "another agent's entry", job: knownJob(func(j *job.Job) {
			j.Agents = append(j.Agents, job.Agent{ID: 5, ConfigProjectID: 7, Configuration: &job.Configuration{Environments: []string{"production"}}})
		})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleCIAccess
			if row.refused == "" {
				want = noOpinion
			}
			r := rules()
			r.FiltersProtectedBranches = !row.ignores
			attrs := as(extraOf(row.job, row.extra...))
			message := wantRule(t, newAuthorizer(registry{job: row.job}, r), attrs, want)
			if !strings.Contains(message, row.refused) {
				t.Errorf("message is %q, want %q in it", message, row.refused)
			}
			if got := unverified(t, registry{job: row.job}, r, attrs); got != row.unverified {
				t.Errorf("%v requests are counted as admitted by GitLab's match alone, want %v", got, row.unverified)
			}
		})
	}
}
