package authz_test

import (
	"fmt"
	"strconv"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// deployingJob is a job whose ci_access entry has a wildcard to match, with facts learned.
func deployingJob() *job.Job {
	return knownJob(inEnvironment("eu-prod-lb01nz", "production", "eu/prod"), func(j *job.Job) {
		j.Agents[0].Configuration = &job.Configuration{AccessAs: job.AsCIJob, Environments: []string{"staging", "eu/*"}}
		j.Ref = job.Ref{Name: "main", Type: job.Branch, Protection: job.Protected}
	})
}

func fiftyRestrictions() []policy.Restriction { return manyRestrictions(50) }

// manyRestrictions are as different as an admin would write them. Only the last matches as's request, and the job of
// deployingJob meets it.
func manyRestrictions(n int) []policy.Restriction {
	if n == 0 {
		return nil
	}
	restrictions := make([]policy.Restriction, 0, n)
	for i := range n - 1 {
		r := policy.Restriction{
			Name:       fmt.Sprintf("team-%d", i),
			Namespaces: []string{fmt.Sprintf("team-%d", i), fmt.Sprintf("team-%d-*", i)},
			Verbs:      []string{"create", "update", "patch", "delete", "deletecollection"},
			Require:    policy.Requirements{Environments: policy.Environments{fmt.Sprintf("team-%d/*", i)}},
		}
		switch i % 3 {
		case 0:
			r.APIGroups, r.Resources = []string{"", "apps", "batch"}, []string{"deployments", "deployments/scale"}
		case 1:
			r.Agents = []int64{agentID}
		}
		restrictions = append(restrictions, r)
	}
	return append(restrictions, policy.Restriction{
		Name: "production", Namespaces: []string{"prod", "prod-*"},
		Verbs: []string{"create", "update", "patch", "delete"}, APIGroups: []string{"apps"},
		Resources: []string{"statefulsets", "deployments", "deployments/scale"},
		Require: policy.Requirements{
			Environments: policy.Environments{"production", "*/prod"}, EnvironmentTiers: policy.EnvironmentTiers{"production"}, ProtectedRef: true,
			Refs: policy.Refs{"release/*", "main"}, RefTypes: policy.RefTypes{"branch"},
			Projects: policy.Projects{150}, Groups: policy.Groups{23}, Roles: policy.Roles{"maintainer", "developer"},
		},
	})
}

// costed are the decisions whose cost the design bounds: a known job, and extras that are all there is to know of a job.
type costed struct {
	rules          policy.Rules
	known, unknown authorizer.Attributes
}

func costs() map[string]costed {
	facts := []string{nameKey, "eu/prod", refKey, "main", refTypeKey, "branch", protectedKey, "true", groupKey, "25,23", roleKey, "guest,developer"}
	byAgent := extraOf(deployingJob())
	unknown := extraOf(deployingJob(), append(facts, jobKey, "2")...)
	granting := rules(fiftyRestrictions()...)
	granting.Grants = []policy.Grant{
		{Name: "tags", Projects: []int64{150}, Require: policy.Requirements{RefTypes: policy.RefTypes{"tag"}}},
		{Name: "team", Groups: []int64{23}, Require: policy.Requirements{Refs: policy.Refs{"main"}}},
	}
	granting.Blocked = policy.Blocked{Projects: []int64{1, 2}, Groups: []int64{3}, Users: []int64{4}, Jobs: []int64{5}}
	environment := []string{slugKey, "eu-prod-lb01nz", tierKey, "production"}
	return map[string]costed{
		"no restrictions":                {rules: rules(), known: as(byAgent), unknown: as(unknown)},
		"fifty restrictions":             {rules: rules(fiftyRestrictions()...), known: as(byAgent), unknown: as(unknown)},
		"fifty restrictions and a grant": {rules: granting, known: as(grantExtra(environment...)), unknown: as(grantExtra(append(append(environment, facts...), jobKey, "2")...))},
	}
}

func benchmark(b *testing.B, name string) { benchmarkDecision(b, costs()[name]) }

// BenchmarkAuthorize_Restrictions is what a decision costs with that many restrictions.
func BenchmarkAuthorize_Restrictions(b *testing.B) {
	for _, n := range []int{0, 1, 10, 25, 50, 100, 200} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			benchmarkDecision(b, costed{rules: rules(manyRestrictions(n)...), known: as(extraOf(deployingJob()))})
		})
	}
}

func benchmarkDecision(b *testing.B, c costed) {
	b.Helper()
	a := newAuthorizer(registry{job: deployingJob()}, c.rules)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if decision, reason, err := a.Authorize(ctx, c.known); decision != authorizer.DecisionNoOpinion || err != nil {
			b.Fatal(decision, reason, err)
		}
	}
}

func BenchmarkAuthorize_KnownJob(b *testing.B) { benchmark(b, "no restrictions") }

func BenchmarkAuthorize_FiftyRestrictions(b *testing.B) { benchmark(b, "fifty restrictions") }

func BenchmarkAuthorize_FiftyRestrictionsAndAGrant(b *testing.B) {
	benchmark(b, "fifty restrictions and a grant")
}

func TestAuthorize_AllocatesNothingUnlessItDenies(t *testing.T) {
	for name, c := range costs() {
		t.Run(name, func(t *testing.T) {
			a := newAuthorizer(registry{job: deployingJob()}, c.rules)
			for _, attrs := range []authorizer.Attributes{c.known, c.unknown, as(nil)} {
				ctx := t.Context()
				wantRule(t, a, attrs, noOpinion)
				decide := a.DecideAgain()
				if got := testing.AllocsPerRun(100, func() { decide(ctx, attrs) }); got != 0 {
					t.Errorf("%v allocations for extras %v, want none", got, attrs.GetUser().GetExtra())
				}
			}
		})
	}
}
