package authz_test

import (
	"fmt"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
)

// deployingJob is a job whose ci_access entry has a wildcard to match, with facts learnt.
func deployingJob() *job.Job {
	return knownJob(inEnvironment("eu-prod-lb01nz", "production", "eu/prod"), func(j *job.Job) {
		j.Agents[0].Configuration.Environments = []string{"staging", "eu/*"}
		j.Facts.Ref, j.Facts.RefProtected = "main", job.Protected
	})
}

// fiftyRestrictions are as different as an admin would write them. Only the last matches as's request, and the job of
// deployingJob meets it.
func fiftyRestrictions() []authz.Restriction {
	restrictions := make([]authz.Restriction, 0, 50)
	for i := range 49 {
		r := authz.Restriction{
			Name:       fmt.Sprintf("team-%d", i),
			Namespaces: []string{fmt.Sprintf("team-%d", i), fmt.Sprintf("team-%d-*", i)},
			Verbs:      []string{"create", "update", "patch", "delete", "deletecollection"},
			Require:    authz.Requirements{Environments: []string{fmt.Sprintf("team-%d/*", i)}},
		}
		switch i % 3 {
		case 0:
			r.APIGroups, r.Resources = []string{"", "apps", "batch"}, []string{"deployments", "deployments/scale"}
		case 1:
			r.Agents = []int64{agentID}
		}
		restrictions = append(restrictions, r)
	}
	return append(restrictions, authz.Restriction{
		Name: "production", Agents: []int64{agentID}, Namespaces: []string{"prod", "prod-*"},
		Verbs: []string{"create", "update", "patch", "delete"}, APIGroups: []string{"apps"},
		Resources: []string{"statefulsets", "deployments", "deployments/scale"},
		Require: authz.Requirements{
			Environments: []string{"production", "*/prod"}, EnvironmentTiers: []string{"production"}, ProtectedRef: true,
			Projects: []int64{150}, Groups: []int64{23}, Roles: []string{"maintainer", "developer"},
		},
	})
}

// scenarios are the decisions whose cost the design bounds.
func scenarios() map[string]struct {
	jobs   registry
	policy authz.Policy
} {
	return map[string]struct {
		jobs   registry
		policy authz.Policy
	}{
		"known job":          {registry{job: deployingJob()}, policy()},
		"fifty restrictions": {registry{job: deployingJob()}, policy(fiftyRestrictions()...)},
	}
}

func benchmark(b *testing.B, scenario string) {
	s := scenarios()[scenario]
	a := newAuthorizer(b, s.jobs, s.policy)
	var attrs authorizer.Attributes = as(extraOf(s.jobs.job))
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if decision, reason, err := a.Authorize(ctx, attrs); decision != authorizer.DecisionNoOpinion || err != nil {
			b.Fatal(decision, reason, err)
		}
	}
}

func BenchmarkAuthorize_KnownJob(b *testing.B) { benchmark(b, "known job") }

func BenchmarkAuthorize_FiftyRestrictions(b *testing.B) { benchmark(b, "fifty restrictions") }

func TestAuthorize_AllocatesNothingUnlessItDenies(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			a := newAuthorizer(t, s.jobs, s.policy)
			known := as(extraOf(s.jobs.job))
			unknown := as(extraOf(s.jobs.job, "agent.gitlab.com/ci_job_id", "2", nameKey, "eu/prod", protectedKey, "true",
				groupKey, "25,23", roleKey, "guest,developer"))
			for _, attrs := range []authorizer.Attributes{known, unknown, as(nil)} {
				ctx := t.Context()
				wantRule(t, a, attrs, noOpinion)
				if got := testing.AllocsPerRun(100, func() { a.Decide(ctx, attrs) }); got != 0 {
					t.Errorf("%v allocations for extras %v, want none", got, attrs.GetUser().GetExtra())
				}
			}
		})
	}
}
