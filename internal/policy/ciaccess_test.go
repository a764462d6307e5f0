package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// ciAccess is an agent's entry, on a GitLab that filters by protected_branches_only itself or does not.
func ciAccess(c job.Configuration, filters bool) policy.CIAccess {
	return policy.Compile(policy.Rules{FiltersProtectedBranches: filters}).CIAccess(&job.Agent{ID: 4, Configuration: &c})
}

// The four rows of GitLab's matrix (no list, match, mismatch, no environment), and what jobgate adds to it.
func TestCIAccess_Environments(t *testing.T) {
	refusing := job.Job{Environment: job.Environment{
		Slug: "preprod", Tier: "other", Name: job.Fact[string]{Why: "the job token may not read environments", Refused: true},
	}}
	unlearnable := job.Job{Environment: job.Environment{Slug: "preprod", Tier: "other", Name: job.Fact[string]{Why: "no such environment"}}}
	notMatching := inEnvironment("preprod", "other", "")
	notMatching.Environment.NotMatching = []string{"prod*"}
	rows := []struct {
		name       string
		list       []string
		job        job.Job
		refusal    string // empty: satisfied
		unverified bool
	}{
		{name: "no list, no environment"},
		{name: "no list, an environment", job: inEnvironment("staging", "other", "staging")},
		{name: "empty list, no environment", list: []string{}},
		{name: "match", list: []string{"production"}, job: inEnvironment("production", "other", "production")},
		{name: "match, name not known", list: []string{"production"}, job: inEnvironment("production", "other", "")},
		{name: "mismatch with a wildcard in the list", list: []string{"production", "review/*"}, job: inEnvironment("staging", "other", "staging"),
			refusal: `it is for environments "production", "review/*", and the job's is "staging"`},
		{name: "no environment", list: []string{"production"}, refusal: `it is for environments "production", and the job has none`},
		{name: "no environment, any is allowed", list: []string{"*"}, refusal: `it is for environments "*", and the job has none`},

		{name: "folder", list: []string{"review/*"}, job: inEnvironment("review-1-x", "other", "review/1")},
		{name: "folder, unanchored in GitLab", list: []string{"review/*"}, job: inEnvironment("my-review-1-x", "other", "my-review/1"),
			refusal: `it is for environments "review/*", and the job's is "my-review/1"`},
		{name: "any", list: []string{"*"}, job: inEnvironment("x", "other", "x")},
		{name: "any, name not known", list: []string{"*"}, job: inEnvironment("x", "other", "")},
		{name: "any, name refused", list: []string{"x", "*"}, job: refusing},
		{name: "prefix, unanchored in GitLab", list: []string{"prod*"}, job: inEnvironment("preprod", "other", "preprod"),
			refusal: `it is for environments "prod*", and the job's is "preprod"`},
		{name: "prefix, name not known while GitLab is in trouble", list: []string{"prod*"}, job: inEnvironment("preprod", "other", ""),
			refusal: `it is for environments "prod*", and the full name of the job's environment (slug "preprod") is not known: ` + tryAgain},
		{name: "prefix, name that GitLab refuses to say: its own match counts", list: []string{"prod*"}, job: refusing, unverified: true},
		{name: "prefix, name that cannot be learned for another reason", list: []string{"prod*"}, job: unlearnable,
			refusal: `it is for environments "prod*", and the full name of the job's environment (slug "preprod") is not known: no such environment`},
		{name: "prefix, name that is known not to match", list: []string{"prod*"}, job: notMatching,
			refusal: `it is for environments "prod*", and the job's environment (slug "preprod") is another one`},
		{name: "an exact entry beside a wildcard", list: []string{"review/*", "preprod"}, job: inEnvironment("preprod", "other", "preprod")},
		{name: "an exact entry with a slash beside a wildcard", list: []string{"review/*", "eu/prod"}, job: inEnvironment("eu-prod-lb01nz", "other", "eu/prod")},
		{name: "named like the slug of the exact entry", list: []string{"review/*", "eu/prod"}, job: inEnvironment("eu-prod-lb01nz", "other", "eu-prod-lb01nz"),
			refusal: `it is for environments "review/*", "eu/prod", and the job's is "eu-prod-lb01nz"`},

		{name: "GitLab's exact match counts", list: []string{"production"}, job: inEnvironment("staging", "other", "staging")},
		{name: "GitLab's exact match counts, though it refuses the name", list: []string{"preprod"}, job: refusing},
		{name: "blank entry, no environment", list: []string{""}, refusal: `it is for environments "", and the job has none`},
		{name: "blank entry beside a wildcard", list: []string{" ", "prod*"}, job: inEnvironment("x", "other", " "),
			refusal: `it is for environments " ", "prod*", and the job's is " "`},
		{name: "blank entry beside a wildcard that matches", list: []string{"", "prod*"}, job: inEnvironment("prod", "other", "prod")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			access := ciAccess(job.Configuration{Environments: row.list}, true)
			if got := access.Refusal(&row.job); got != row.refusal {
				t.Errorf("refusal is\n%q, want\n%q", got, row.refusal)
			}
			if got := access.Unverified(&row.job); got != row.unverified {
				t.Errorf("unverified: %t, want %t", got, row.unverified)
			}
			if row.refusal != "" && !access.Asks() {
				t.Error("an entry that asks for nothing refuses")
			}
		})
	}
}

func TestCIAccess_ProtectedBranchesOnly(t *testing.T) {
	on := func(r job.Ref) job.Job { return job.Job{Ref: r} }
	inProduction := func(r job.Ref) job.Job {
		j := inEnvironment("production", "other", "")
		j.Ref = r
		return j
	}
	protectedOnly := job.Configuration{ProtectedBranchesOnly: true}
	both := job.Configuration{ProtectedBranchesOnly: true, Environments: []string{"production"}}
	unprotected, protected := job.Ref{Protection: job.Unprotected}, job.Ref{Protection: job.Protected}
	const has = "it has protected_branches_only, and "
	rows := []struct {
		name    string
		entry   job.Configuration
		filters bool
		job     job.Job
		refusal string
	}{
		{name: "not asked for", job: on(unprotected)},
		{name: "vouched for by GitLab", entry: protectedOnly, filters: true},
		{name: "vouched for by GitLab, which knows better", entry: protectedOnly, filters: true, job: on(unprotected)},
		{name: "protected", entry: protectedOnly, job: on(protected)},
		{name: "not protected", entry: protectedOnly, job: on(job.Ref{Name: "feature", Protection: job.Unprotected}),
			refusal: has + `the job's ref "feature" is not protected`},
		{name: "not protected, ref not known", entry: protectedOnly, job: on(unprotected), refusal: has + "the job's ref is not protected"},
		{name: "not known", entry: protectedOnly, job: on(job.Ref{Name: "v1"}),
			refusal: has + `whether the job's ref "v1" is protected is not known: ` + tryAgain},
		{name: "not known, with the reason", entry: protectedOnly, job: on(job.Ref{ProtectionWhy: "a job token may not read tags"}),
			refusal: has + "whether the job's ref is protected is not known: a job token may not read tags"},
		{name: "a merge request", entry: protectedOnly, job: on(job.Ref{Name: "main", Protection: job.Protected, MergeRequest: true}),
			refusal: has + "the job runs in a merge request's pipeline, which never counts as protected"},
		{name: "environment first", entry: both, refusal: `it is for environments "production", and the job has none`},
		{name: "environment satisfied, ref not", entry: both, job: inProduction(unprotected), refusal: has + "the job's ref is not protected"},
		{name: "both satisfied", entry: both, job: inProduction(protected)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			access := ciAccess(row.entry, row.filters)
			if got := access.Refusal(&row.job); got != row.refusal {
				t.Errorf("refusal is\n%q, want\n%q", got, row.refusal)
			}
			if row.refusal != "" && !access.Asks() {
				t.Error("an entry that asks for nothing refuses")
			}
		})
	}
}

func TestCIAccess_SaysWhichFactsItNeeds(t *testing.T) {
	rows := []struct {
		name    string
		entry   job.Configuration
		filters bool
		asks    bool
		needs   job.Needs
	}{
		{name: "nothing"},
		{name: "exact environments, which GitLab has matched", entry: job.Configuration{Environments: []string{"production", "eu/prod"}}, asks: true},
		{name: "a wildcard", entry: job.Configuration{Environments: []string{"production", "review/*"}}, asks: true,
			needs: job.Needs{Environments: []string{"production", "review/*"}}},
		{name: "a blank entry", entry: job.Configuration{Environments: []string{""}}, asks: true},
		{name: "protected refs, filtered by GitLab", entry: job.Configuration{ProtectedBranchesOnly: true}, filters: true},
		{name: "protected refs", entry: job.Configuration{ProtectedBranchesOnly: true}, asks: true,
			needs: job.Needs{Facts: job.FactRef | job.FactRefProtected}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if access := ciAccess(row.entry, row.filters); access.Asks() != row.asks {
				t.Errorf("asks: %t, want %t", access.Asks(), row.asks)
			}
			p := policy.Compile(policy.Rules{FiltersProtectedBranches: row.filters})
			if diff := cmp.Diff(row.needs, p.Needs(&job.Job{Agents: []job.Agent{{ID: 4, Configuration: &row.entry}}})); diff != "" {
				t.Errorf("needs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCIAccess_RefusalRepeatsNothingUnescapedOrUnbounded(t *testing.T) {
	hostile := "\x1b[31m\n\"" + strings.Repeat("x", 5000)
	access := ciAccess(job.Configuration{Environments: []string{hostile, "*" + hostile, "a", "b", "c", "d"}, ProtectedBranchesOnly: true}, false)
	named := inEnvironment("s", "other", hostile)
	unprotected, unknown := named, named
	unprotected.Ref = job.Ref{Name: hostile, Protection: job.Unprotected}
	unknown.Ref = job.Ref{Name: hostile, ProtectionWhy: hostile}
	jobs := map[string]job.Job{
		"no environment":      {},
		"another environment": inEnvironment("s", "other", hostile[:100]),
		"unprotected ref":     unprotected,
		"reason":              unknown,
	}
	for name, j := range jobs {
		t.Run(name, func(t *testing.T) {
			refusal := access.Refusal(&j)
			if refusal == "" || len(refusal) > 1000 {
				t.Errorf("the refusal has %d bytes: %s", len(refusal), refusal)
			}
			if strings.ContainsAny(refusal, "\x1b\n") {
				t.Errorf("the refusal has control characters: %q", refusal)
			}
		})
	}
}

func TestCIAccess_SatisfiedEntryAllocatesNothing(t *testing.T) {
	access := ciAccess(job.Configuration{Environments: []string{"staging", "eu/*"}, ProtectedBranchesOnly: true}, false)
	j := inEnvironment("eu-prod-lb01nz", "other", "eu/prod")
	j.Ref.Protection = job.Protected
	if got := testing.AllocsPerRun(100, func() {
		if access.Refusal(&j) != "" || access.Unverified(&j) {
			t.Error("refused, or not verified")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
