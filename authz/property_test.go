package authz_test

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// dice are choices made by bytes, so that fuzzing can look for the interesting ones; after the last byte all are zero.
type dice struct{ left []byte }

func (d *dice) roll(sides int) int {
	if len(d.left) == 0 {
		return 0
	}
	n := int(d.left[0]) % sides
	d.left = d.left[1:]
	return n
}

func (d *dice) flip() bool { return d.roll(2) == 1 }

func pick[T any](d *dice, items ...T) T { return items[d.roll(len(items))] }

// some takes up to two items; often none, for that is what most lists are.
func some[T any](d *dice, items ...T) []T {
	var taken []T
	for range max(0, d.roll(5)-2) {
		taken = append(taken, pick(d, items...))
	}
	return taken
}

// environments are the cases of proving a name: its own slug, a slug that is another name's, and look-alikes.
var environments = []struct{ slug, name string }{
	{"production", "production"}, {"production", "production-"}, {"preprod", "preprod"}, {"eu-prod-lb01nz", "eu/prod"},
	{"eu-prod-lb01nz", "eu-prod-lb01nz"}, {"review-1-x", "review/1"},
}

var environmentPatterns = []string{"production", "prod*", "*", "eu/prod", "eu-prod-lb01nz", "*/prod", "review/*", "**", "p*d*n"}

func (d *dice) job() *job.Job {
	j := knownJob(func(j *job.Job) {
		j.GroupIDs, j.Roles = some(d, int64(22), 23), some(d, "guest", "owner")
		j.Facts = job.Facts{
			Ref:          pick(d, "", "main"),
			RefProtected: pick(d, job.ProtectionNotKnown, job.Unprotected, job.Protected),
		}
	})
	if d.flip() {
		e := pick(d, environments...)
		j.Environment = &gitlab.Environment{Slug: e.slug, Tier: pick(d, "production", "other")}
		j.Facts.EnvironmentName = pick(d, "", e.name)
	}
	j.Agents[0].ID = pick(d, int64(4), 4, 4, 5)
	j.Agents[0].Configuration = gitlab.Configuration{
		AccessAs: gitlab.AsCIJob, Environments: some(d, append([]string{""}, environmentPatterns...)...), ProtectedBranchesOnly: d.roll(4) == 1,
	}
	if d.roll(16) == 1 {
		j.Agents[0].Err = gitlab.ErrConfiguration
	}
	return j
}

// extras are those of the job, with what jobgate may add, and now and then with something else in the place of one.
func (d *dice) extras(j *job.Job) map[string][]string {
	x := extraOf(j)
	if j.Environment != nil && d.flip() {
		x[nameKey] = []string{j.Facts.EnvironmentName}
		if j.Facts.EnvironmentName == "" {
			x[nameKey] = []string{pick(d, environments...).name}
		}
	}
	if d.flip() {
		x[refKey] = []string{pick(d, "main", "main", "main", "feature")}
	}
	if d.flip() {
		x[protectedKey] = []string{pick(d, "true", "false")}
	}
	if d.flip() {
		x[groupKey], x[roleKey] = some(d, "22", "23"), some(d, "guest", "owner")
	}
	if d.roll(32) == 1 {
		x["agent.gitlab.com/id"] = []string{"6"}
	}
	if d.roll(4) == 1 {
		key := pick(d, "agent.gitlab.com/id", "agent.gitlab.com/ci_job_id", "agent.gitlab.com/project_id",
			"agent.gitlab.com/ci_pipeline_id", "agent.gitlab.com/config_project_id", "agent.gitlab.com/username", slugKey, tierKey, nameKey,
			refKey, protectedKey, groupKey, roleKey, deniedKey, "example.com/other")
		if x[key] = some(d, "4", "5", "6", "true", "x", "", "production", "-", "0", "07", "9223372036854775808"); x[key] == nil && d.flip() {
			delete(x, key)
		}
	}
	return x
}

func (d *dice) restriction(i int) authz.Restriction {
	r := authz.Restriction{
		Name: "r" + strconv.Itoa(i), Agents: some(d, int64(4), 5), Namespaces: some(d, "prod", "prod*", "*", "dev"),
		Verbs: some(d, "*", "get", "create", "impersonate"), APIGroups: some(d, "", "*", "apps"),
		Resources: some(d, "*", "pods", "pods/exec", "*/scale", "deployments"),
		Require: authz.Requirements{
			Environments: some(d, environmentPatterns...), EnvironmentTiers: some(d, "production", "other"), ProtectedRef: d.roll(4) == 1,
			Projects: some(d, int64(149), 150), Groups: some(d, int64(22), 23, 24), Roles: some(d, "guest", "owner", "maintainer"),
		},
	}
	if q := r.Require; len(q.Environments)+len(q.EnvironmentTiers)+len(q.Projects)+len(q.Groups)+len(q.Roles) == 0 {
		r.Require.ProtectedRef = true
	}
	return r
}

func (d *dice) request(x map[string][]string) authorizer.AttributesRecord {
	a := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "u", Extra: x},
		Verb: pick(d, "get", "create", "delete", "impersonate", "impersonate:user-info", "impersonate-on:user-info:get", "impersonates"),
	}
	if d.roll(4) == 1 {
		a.Path = "/metrics"
		return a
	}
	a.ResourceRequest = true
	a.Namespace, a.APIGroup = pick(d, "", "prod", "prod-eu", "preprod", "dev"), pick(d, "", "apps", "batch")
	a.Resource, a.Subresource = pick(d, "pods", "deployments", "users", "scale"), pick(d, "", "", "exec", "scale")
	return a
}

func (d *dice) scene() (model, authorizer.AttributesRecord) {
	m := model{policy: authz.Policy{Agents: []int64{4, 5}, FiltersProtectedBranches: d.flip()}, jobs: registry{job: d.job()}}
	for i := range d.roll(4) {
		m.policy.Restrictions = append(m.policy.Restrictions, d.restriction(i))
	}
	attrs := d.request(d.extras(m.jobs.job))
	switch d.roll(8) {
	case 1, 2, 3:
		m.jobs.err = job.ErrUnknown
	case 4:
		m.jobs.err = pick[error](d, &gitlab.RejectedError{Status: 401}, &gitlab.RejectedError{Status: 403}, errors.New("away"))
	}
	return m, attrs
}

// checkAgainstModel asks the authorizer and the model the same, and returns the rule. It is never an Allow.
func checkAgainstModel(t *testing.T, m model, attrs authorizer.AttributesRecord) authz.Rule {
	t.Helper()
	want, restriction := m.judge(attrs)
	a := newAuthorizer(t, m.jobs, m.policy)
	ctx := klog.NewContext(t.Context(), logr.Discard())
	decision, reason, err := a.Authorize(ctx, attrs)
	denial, got := a.Decide(ctx, attrs), noOpinion
	wantDecision := authorizer.DecisionNoOpinion
	if denial != nil {
		got, wantDecision = denial.Rule, authorizer.DecisionDeny
		wantReadable(t, reason)
	}
	if got != want || !strings.Contains(reason, `restriction "`+restriction) && restriction != "" {
		t.Errorf("denied by %q (%s), and by the model by %q (restriction %q)", got, reason, want, restriction)
	}
	if decision != wantDecision || err != nil {
		t.Errorf("decision is %v for the rule %q, error is %v", decision, got, err)
	}
	if m.jobs.err == nil || errors.Is(m.jobs.err, job.ErrUnknown) {
		answer, _ := m.jobs.LookupID(ctx, number(first(attrs.User.GetExtra()["agent.gitlab.com/ci_job_id"])))
		if explained := firstDenied(a.Explain(attrs, answer.Job)); explained != got {
			t.Errorf("denied by %q, and explained by %q", got, explained)
		}
	}
	if t.Failed() {
		t.Logf("policy %+v\njob %+v, %v\nrequest %+v\nextras %v", m.policy, m.jobs.job, m.jobs.err, attrs, attrs.User.GetExtra())
	}
	return got
}

func firstDenied(verdicts []authz.Verdict) authz.Rule {
	for _, v := range verdicts {
		if v.Outcome == authz.Denied {
			return v.Rule
		}
	}
	return noOpinion
}

func FuzzAuthorize(f *testing.F) {
	source := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		f.Add(randomBytes(source))
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		m, attrs := (&dice{left: choices}).scene()
		checkAgainstModel(t, m, attrs)
	})
}

func randomBytes(source *rand.Rand) []byte {
	choices := make([]byte, 160)
	for i := range choices {
		choices[i] = byte(source.Uint32())
	}
	return choices
}

// The same as the fuzzing, on as many random scenes as are a matter of a second, always the same ones. Each rule must
// come up often, or the scenes would prove little.
func TestAuthorize_AgreesWithTheModel(t *testing.T) {
	source, seen := rand.New(rand.NewPCG(3, 4)), make(map[authz.Rule]int)
	for range 10000 {
		m, attrs := (&dice{left: randomBytes(source)}).scene()
		seen[checkAgainstModel(t, m, attrs)]++
		if t.Failed() {
			return
		}
	}
	for _, rule := range []authz.Rule{
		noOpinion, authz.RuleMalformed, authz.RuleUnknownAgent, authz.RuleDeniedLogin, authz.RuleEnded, authz.RuleUnconfirmed, authz.RuleNotListed,
		authz.RuleConfiguration, authz.RuleContradiction, authz.RuleCIAccess, authz.RuleImpersonation, authz.RuleRestriction,
	} {
		if seen[rule] < 10 {
			t.Errorf("rule %q came up %d times in 10,000 scenes", rule, seen[rule])
		}
	}
	t.Logf("rules: %v", seen)
}
