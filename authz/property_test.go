package authz_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// choices are made by bytes, so that fuzzing can look for the interesting ones; after the last byte all are zero.
type choices struct{ left []byte }

// below returns a number from 0 to n-1.
func (c *choices) below(n int) int {
	if len(c.left) == 0 {
		return 0
	}
	chosen := int(c.left[0]) % n
	c.left = c.left[1:]
	return chosen
}

// oneIn is true once in n times.
func (c *choices) oneIn(n int) bool { return c.below(n) == 1 }

func pick[T any](c *choices, items ...T) T { return items[c.below(len(items))] }

// some takes up to two items; often none, as most lists have none.
func some[T any](c *choices, items ...T) []T {
	var taken []T
	for range max(0, c.below(5)-2) {
		taken = append(taken, pick(c, items...))
	}
	return taken
}

// maybe is a fact that is often not known, and now and then refused.
func maybe[T any](c *choices, value T) job.Fact[T] {
	switch c.below(4) {
	case 0:
		return job.Fact[T]{}
	case 1:
		return job.Fact[T]{Why: "GitLab refuses", Refused: true}
	default:
		return job.KnownFact(value)
	}
}

// environments are the cases of proving a name: its own slug, a slug that is another name's, and look-alikes.
var environments = []struct{ slug, name string }{
	{"production", "production"}, {"production", "production-"}, {"preprod", "preprod"}, {"eu-prod-lb01nz", "eu/prod"},
	{"eu-prod-lb01nz", "eu-prod-lb01nz"}, {"review-1-x", "review/1"},
}

var environmentPatterns = []string{"production", "prod*", "*", "eu/prod", "eu-prod-lb01nz", "*/prod", "review/*", "**", "p*d*n"}

var (
	refs        = []string{"main", "main", "main", "feature", "refs/merge-requests/1/head"}
	refPatterns = []string{"main", "*", "feat*", "refs/*"}
	sources     = []string{"push", "push", "web", job.MergeRequestEvent}
)

func (c *choices) job() *job.Job {
	j := knownJob(func(j *job.Job) {
		j.Groups, j.Roles = maybe(c, some(c, int64(22), 23)), maybe(c, some(c, "guest", "owner"))
		j.PipelineSource = maybe(c, pick(c, sources...))
		j.Ref = job.Ref{
			Name: pick(c, append([]string{"", ""}, refs...)...), Type: pick(c, "", job.Branch, job.Tag),
			Protection: pick(c, job.ProtectionUnknown, job.Unprotected, job.Protected, job.Protected),
		}
		j.Ref.MergeRequest = strings.HasPrefix(j.Ref.Name, "refs/") || j.PipelineSource.Value == job.MergeRequestEvent || c.oneIn(16)
	})
	if c.oneIn(2) {
		e := pick(c, environments...)
		j.Environment = job.Environment{
			Slug: e.slug, Tier: pick(c, "production", "other"), Name: maybe(c, e.name), Protected: maybe(c, c.oneIn(2)),
		}
	}
	j.Agents[0].ID = pick(c, int64(4), 4, 4, 5)
	j.Agents[0].Configuration = &job.Configuration{
		AccessAs: job.AsCIJob, Environments: some(c, append([]string{""}, environmentPatterns...)...), ProtectedBranchesOnly: c.oneIn(4),
	}
	if c.oneIn(16) {
		j.Agents[0].Configuration, j.Agents[0].Err = nil, job.ErrConfiguration
	}
	return j
}

// extras are those of the job, with what jobgate may add, and now and then with something else in the place of one.
func (c *choices) extras(j *job.Job) map[string][]string {
	x := extraOf(j)
	if c.oneIn(3) {
		delete(x, agentKey)
		delete(x, configKey)
		x[clusterKey], x[grantKey] = []string{pick(c, cluster, cluster, cluster, "other")}, []string{"g0"}
	}
	if j.Environment.Exists() && c.oneIn(2) {
		x[nameKey] = []string{j.Environment.Name.Value}
		if !j.Environment.Name.Known {
			x[nameKey] = []string{pick(c, environments...).name}
		}
	}
	if x[clusterKey] != nil && c.oneIn(4) {
		delete(x, grantKey) // kube-apiserver itself has verified an ID token
		if x[nameKey] != nil && c.oneIn(2) {
			delete(x, slugKey)
		}
	}
	for _, optional := range []struct {
		key    string
		values []string
	}{
		{guardedKey, []string{"true", "false"}}, {refKey, refs}, {refTypeKey, []string{"branch", "tag"}}, {protectedKey, []string{"true", "false"}},
		{sourceKey, sources}, {userKey, []string{"9", "8"}},
	} {
		if c.oneIn(2) {
			x[optional.key] = []string{pick(c, optional.values...)}
		}
	}
	if c.oneIn(2) {
		x[groupKey], x[roleKey] = some(c, "22", "23"), some(c, "guest", "owner")
	}
	if c.oneIn(32) {
		x[agentKey] = []string{"6"}
	}
	if c.oneIn(4) {
		key := pick(c, agentKey, jobKey, projectKey, pipelineKey, configKey, usernameKey, slugKey, tierKey, nameKey, refKey, refTypeKey, protectedKey,
			guardedKey, sourceKey, groupKey, roleKey, userKey, deniedKey, clusterKey, grantKey, credentialKey, "example.com/other")
		if x[key] = some(c, "4", "5", "6", "true", "x", "", "production", "-", "0", "07", "9223372036854775808"); x[key] == nil && c.oneIn(2) {
			delete(x, key)
		}
		if key == credentialKey {
			x[key] = []string{"JTI=x"}
		}
	}
	return x
}

func (c *choices) requirements() policy.Requirements {
	return policy.Requirements{
		Environments: some(c, environmentPatterns...), EnvironmentTiers: some(c, "production", "other"),
		EnvironmentProtected: policy.EnvironmentProtected(c.oneIn(8)), ProtectedRef: policy.ProtectedRef(c.oneIn(4)),
		Refs: some(c, refPatterns...), RefTypes: some(c, "branch", "tag"), PipelineSources: some(c, sources...),
		Projects: some(c, int64(149), 150), Groups: some(c, int64(22), 23, 24), Roles: some(c, "guest", "owner", "maintainer"),
	}
}

func (c *choices) restriction(i int) policy.Restriction {
	r := policy.Restriction{
		Name: "r" + strconv.Itoa(i), Mode: pick(c, "", policy.Enforce, policy.Enforce, policy.Report),
		Agents: some(c, int64(4), 5), Namespaces: some(c, "prod", "prod*", "*", "dev"),
		Verbs: some(c, "*", "get", "create", "impersonate"), APIGroups: some(c, "", "*", "apps"),
		Resources: some(c, "*", "pods", "pods/exec", "*/scale", "deployments"), Require: c.requirements(),
	}
	if r.Require.IsZero() {
		r.Require.ProtectedRef = true
	}
	return r
}

func (c *choices) grant(i int) policy.Grant {
	g := policy.Grant{Name: "g" + strconv.Itoa(i), Projects: some(c, int64(149), 150), Groups: some(c, int64(22), 23)}
	if c.oneIn(2) {
		g.Require = c.requirements()
	}
	if len(g.Groups) == 0 {
		g.Projects = append(g.Projects, 150)
	}
	return g
}

func (c *choices) request(x map[string][]string) authorizer.AttributesRecord {
	a := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "u", Extra: x},
		Verb: pick(c, "get", "create", "delete", "impersonate", "impersonate:user-info", "impersonate-on:user-info:get", "impersonates"),
	}
	if c.oneIn(4) {
		a.Path = pick(c, "/metrics", "/metrics", "/metrics", "/api", "/openapi/v3", "/apiserver")
		return a
	}
	a.ResourceRequest = true
	a.Namespace, a.APIGroup = pick(c, "", "prod", "prod-eu", "preprod", "dev"), pick(c, "", "apps", "batch")
	a.Resource, a.Subresource = pick(c, "pods", "deployments", "users", "scale"), pick(c, "", "", "exec", "scale")
	return a
}

// scenario is a policy, a job and a request.
func (c *choices) scenario() (model, authorizer.AttributesRecord) {
	m := model{jobs: registry{job: c.job()}, rules: policy.Rules{
		Agents: []policy.Agent{{ID: 4}, {ID: 5}}, Cluster: cluster, FiltersProtectedBranches: c.oneIn(2),
	}}
	for i := range c.below(4) {
		m.rules.Restrictions = append(m.rules.Restrictions, c.restriction(i))
	}
	for i := range c.below(3) {
		m.rules.Grants = append(m.rules.Grants, c.grant(i))
	}
	if c.oneIn(8) {
		m.rules.Blocked = policy.Blocked{
			Projects: some(c, int64(150), 1), Groups: some(c, int64(22), 23), Users: some(c, int64(9), 8), Jobs: some(c, int64(1001), 4),
		}
	}
	attrs := c.request(c.extras(m.jobs.job))
	switch c.below(8) {
	case 1, 2, 3:
		m.jobs.err = job.ErrUnknown
	case 4:
		m.jobs.err = pick[error](c, &job.RejectedError{Rejection: job.NotRunning}, &job.RejectedError{Rejection: job.ForbiddenUser}, errors.New("away"))
	}
	return m, attrs
}

// checkAgainstModel asks the authorizer and the model the same, and returns the rule. It is never an Allow.
func checkAgainstModel(t *testing.T, m model, attrs authorizer.AttributesRecord) ruling {
	t.Helper()
	want := m.judge(attrs)
	var stream bytes.Buffer
	compiled := policy.Compile(m.rules)
	a := authz.New(m.jobs, compiled, decision.NewLog(&stream, nil), nil)
	ctx := klog.NewContext(t.Context(), logr.Discard())
	decided, reason, err := a.Authorize(ctx, attrs)
	denial, got := a.Decide(ctx, attrs), noOpinion
	wantDecision := authorizer.DecisionNoOpinion
	if denial != nil {
		got, wantDecision = denial.Rule, authorizer.DecisionDeny
		wantReadable(t, reason)
	}
	if got != want.rule || !strings.Contains(reason, `restriction "`+want.restriction) && want.restriction != "" {
		t.Errorf("denied by %q (%s), and by the model by %q (restriction %q)", got, reason, want.rule, want.restriction)
	}
	if decided != wantDecision || err != nil {
		t.Errorf("decision is %v for the rule %q, error is %v", decided, got, err)
	}
	if reported := reportedIn(records(t, &stream)); !slices.Equal(reported, want.reported) {
		t.Errorf("restrictions %q are reported, and by the model %q", reported, want.reported)
	}
	if m.jobs.err == nil || errors.Is(m.jobs.err, job.ErrUnknown) {
		answer, _ := m.jobs.LookupID(ctx, job.ByID{ID: number(first(attrs.User.GetExtra()[jobKey]))})
		if explained := firstDenied(authz.Explain(compiled, attrs, answer.Job)); explained != got {
			t.Errorf("denied by %q, and explained by %q", got, explained)
		}
	}
	if t.Failed() {
		t.Logf("rules %+v\njob %+v, %v\nrequest %+v\nextras %v", m.rules, m.jobs.job, m.jobs.err, attrs, attrs.User.GetExtra())
	}
	return want
}

func reportedIn(all []decision.Record) (restrictions []string) {
	for _, r := range all {
		if r.Decision == decision.WouldDeny {
			restrictions = append(restrictions, r.Restriction)
		}
	}
	return restrictions
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
	f.Fuzz(func(t *testing.T, bytes []byte) {
		m, attrs := (&choices{left: bytes}).scenario()
		checkAgainstModel(t, m, attrs)
	})
}

func randomBytes(source *rand.Rand) []byte {
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(source.Uint32())
	}
	return bytes
}

// The same as the fuzzing, on as many random scenarios as a few seconds allow, always the same ones. Each rule must come up
// often, or the scenarios would prove little.
func TestAuthorize_AgreesWithTheModel(t *testing.T) {
	source, seen, reported := rand.New(rand.NewPCG(3, 4)), make(map[authz.Rule]int), 0
	for range 10000 {
		m, attrs := (&choices{left: randomBytes(source)}).scenario()
		result := checkAgainstModel(t, m, attrs)
		seen[result.rule]++
		reported += len(result.reported)
		if t.Failed() {
			return
		}
	}
	for _, rule := range []authz.Rule{
		noOpinion, authz.RuleMalformed, authz.RuleUnknownAgent, authz.RuleDeniedLogin, authz.RuleEnded, authz.RuleUnconfirmed, authz.RuleNotListed,
		authz.RuleConfiguration, authz.RuleContradiction, authz.RuleBlocked, authz.RuleNoGrant, authz.RuleCIAccess, authz.RuleImpersonation,
		authz.RuleRestriction,
	} {
		if seen[rule] < 10 {
			t.Errorf("rule %q came up %d times in 10,000 scenarios", rule, seen[rule])
		}
	}
	if reported < 100 {
		t.Errorf("%d reports in 10,000 scenarios", reported)
	}
	t.Logf("rules: %v, reports: %d", seen, reported)
}
