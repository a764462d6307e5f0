package authz_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestRestriction_ReasonNamesJobAgentRestrictionAndTheWayOut(t *testing.T) {
	r := rules(policy.Restriction{Name: "production", Require: policy.Requirements{
		Environments: policy.Environments{"production", "prod/*"}, Projects: policy.Projects{23, 24},
	}})
	r.Agents[0].Name = "path/to:agent"
	r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
	const rest = ` do this: its environment must be one of "production", "prod/*", and the job's is "staging"; ` +
		`its project must be one of 23, 24, and the job's is 150`
	j := knownJob(inEnvironment("staging", "staging", "staging"))
	rows := []struct {
		name  string
		extra map[string][]string
		want  string
	}{
		{"by an agent", extraOf(j), `jobgate: restriction "production" does not let job 1001 of project 150 (agent 4 (path/to:agent))` + rest},
		{"by a grant", grantExtra(slugKey, "staging", tierKey, "staging"),
			`jobgate: restriction "production" does not let job 1001 of project 150` + rest},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := wantRule(t, newAuthorizer(registry{job: j}, r), as(row.extra), authz.RuleRestriction); got != row.want {
				t.Errorf("message is\n%s, want\n%s", got, row.want)
			}
		})
	}
}

// Whatever a request is about, a restriction of an agent denies it for jobs of that agent alone.
func TestRestriction_AgentsFilter(t *testing.T) {
	r := rules(policy.Restriction{Name: "agents", Agents: []int64{3, agentID}, Require: unmeetable})
	r.Agents = append(r.Agents, policy.Agent{ID: 5})
	r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
	rows := []struct {
		name  string
		extra map[string][]string
		want  authz.Rule
	}{
		{"its agent", extra(), authz.RuleRestriction},
		{"another agent", extra(agentKey, "5"), noOpinion},
		{"a grant", grantExtra(), noOpinion},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for _, change := range []func(*authorizer.AttributesRecord){
				request("get", "prod", "", "pods"), request("delete", "", "", "nodes"), nonResource("get", "/metrics"),
			} {
				wantRule(t, newAuthorizer(registry{}, r), as(row.extra, change), row.want)
			}
		})
	}
}

// What a job impersonates carries no extras, so nothing would restrict it any more: a job may impersonate only if it meets
// the requirements of each restriction that applies to its agent, whatever else that restriction filters by.
func TestImpersonation_WouldEscapeARestriction(t *testing.T) {
	rows := []struct {
		name        string
		restriction policy.Restriction
		request     func(*authorizer.AttributesRecord)
		denied      bool
	}{
		{name: "users, namespaces restricted", restriction: policy.Restriction{Namespaces: []string{"dev"}},
			request: request("impersonate", "", "", "users"), denied: true},
		{name: "groups, groups of resources restricted", restriction: policy.Restriction{APIGroups: []string{"apps"}},
			request: request("impersonate", "", "", "groups"), denied: true},
		{name: "service accounts, resources restricted", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonate", "dev", "", "serviceaccounts"), denied: true},
		{name: "the service account default, only verbs restricted", restriction: policy.Restriction{Verbs: []string{"create"}},
			request: request("impersonate", "default", "", "serviceaccounts"), denied: true},
		{name: "users, only verbs restricted", restriction: policy.Restriction{Verbs: []string{"delete"}},
			request: request("impersonate", "", "", "users"), denied: true},
		{name: "users, everything restricted", restriction: policy.Restriction{}, request: request("impersonate", "", "", "users"), denied: true},
		{name: "extras", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonate", "", "authentication.k8s.io", "userextras/agent.gitlab.com/ci_job_id"), denied: true},
		{name: "uids", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonate", "", "authentication.k8s.io", "uids"), denied: true},
		{name: "stars", restriction: policy.Restriction{APIGroups: []string{"*"}}, request: request("impersonate", "", "", "users"), denied: true},
		{name: "the job's agent restricted", restriction: policy.Restriction{Agents: []int64{3, 4}, Resources: []string{"secrets"}},
			request: request("impersonate", "", "", "users"), denied: true},
		{name: "another agent restricted", restriction: policy.Restriction{Agents: []int64{3}, Resources: []string{"secrets"}},
			request: request("impersonate", "", "", "users")},

		{name: "constrained to a kind of user", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonate:user-info", "", "authentication.k8s.io", "users"), denied: true},
		{name: "constrained to service accounts", restriction: policy.Restriction{Verbs: []string{"create"}},
			request: request("impersonate:serviceaccount", "dev", "authentication.k8s.io", "serviceaccounts"), denied: true},
		{name: "constrained to a node", restriction: policy.Restriction{Verbs: []string{"create"}},
			request: request("impersonate:arbitrary-node", "", "authentication.k8s.io", "nodes"), denied: true},
		{name: "constrained to a request", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonate-on:user-info:get", "dev", "", "pods"), denied: true},
		{name: "a verb that only begins alike", restriction: policy.Restriction{Resources: []string{"secrets"}},
			request: request("impersonates", "", "", "users")},
		{name: "another verb on users", restriction: policy.Restriction{Resources: []string{"secrets"}}, request: request("get", "", "", "users")},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			const says = `job 1001 of project 150 (agent 4) may not impersonate, because that would escape restriction "guard", ` +
				`whose requirements it does not meet: its project must be one of 1, and the job's is 150`
			for _, jobs := range []registry{{job: knownJob()}, {}} {
				r := row.restriction
				r.Name, r.Require = "guard", unmeetable
				want := noOpinion
				if row.denied {
					want = authz.RuleImpersonation
				}
				if message := wantRule(t, newAuthorizer(jobs, rules(r)), as(extra(), row.request), want); row.denied && !strings.Contains(message, says) {
					t.Errorf("message is %q, want %q in it", message, says)
				}
				r.Require = policy.Requirements{Projects: policy.Projects{150}}
				wantRule(t, newAuthorizer(jobs, rules(r)), as(extra(), row.request), noOpinion)
			}
		})
	}
}

// A restriction in report mode denies nothing. It counts each request that it would have denied, and records the first of
// each job.
func TestRestriction_ReportModeCountsAndRecordsButNeverDenies(t *testing.T) {
	var stream bytes.Buffer
	metrics := prometheus.NewRegistry()
	a := authz.New(registry{}, policy.Compile(rules(
		policy.Restriction{Name: "tried", Mode: policy.Report, Namespaces: []string{"prod"}, Require: unmeetable},
		policy.Restriction{Name: "met", Mode: policy.Report, Require: policy.Requirements{Projects: policy.Projects{150}}},
		policy.Restriction{Name: "second", Mode: policy.Report, Verbs: []string{"delete"}, Require: unmeetable},
	)), decision.NewLog(&stream, nil), metrics)
	ctx, _ := logged(t)
	remove := request("delete", "prod", "apps", "deployments")
	for _, attrs := range []authorizer.Attributes{
		as(extra()), as(extra()), as(extra(), remove), as(extra(jobKey, "1002")), as(extra(), request("get", "dev", "", "pods")),
		as(extra(), request("impersonate", "", "", "users")), // would have been denied by both, as it would escape both
	} {
		if denial := a.Decide(ctx, attrs); denial != nil {
			t.Errorf("denied: %s", denial.Message)
		}
	}
	const want = `
		# HELP jobgate_restriction_would_deny_total Requests that a restriction in report mode would have denied, by restriction.
		# TYPE jobgate_restriction_would_deny_total counter
		jobgate_restriction_would_deny_total{restriction="second"} 2
		jobgate_restriction_would_deny_total{restriction="tried"} 5
	`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "jobgate_restriction_would_deny_total"); err != nil {
		t.Error(err)
	}
	type line struct {
		Kind        decision.Kind
		Restriction string
		Job         int64
	}
	var got []line
	for _, r := range records(t, &stream) {
		got = append(got, line{r.Decision, r.Restriction, r.Job})
		wantReadable(t, r.Message)
	}
	if diff := cmp.Diff([]line{
		{decision.WouldDeny, "tried", 1001}, {decision.WouldDeny, "second", 1001}, {decision.WouldDeny, "tried", 1002},
	}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRestriction_ReportModeBeforeOneThatDenies(t *testing.T) {
	got := recorded(t, registry{}, rules(
		policy.Restriction{Name: "tried", Mode: policy.Report, Require: unmeetable},
		policy.Restriction{Name: "enforced", Mode: policy.Enforce, Require: unmeetable},
		policy.Restriction{Name: "never asked", Mode: policy.Report, Require: unmeetable},
	), as(extra()))
	var kinds []string
	for _, r := range got {
		kinds = append(kinds, string(r.Decision)+" "+r.Restriction)
	}
	if diff := cmp.Diff([]string{"would_deny tried", "denied enforced"}, kinds); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A record that the log has dropped for want of budget is written at the job's next request.
func TestRestriction_ReportThatWasDroppedIsWrittenLater(t *testing.T) {
	var stream failing
	a := authz.New(registry{}, policy.Compile(rules(policy.Restriction{Name: "tried", Mode: policy.Report, Require: unmeetable})),
		decision.NewLog(&stream, nil), nil)
	ctx, _ := logged(t)
	stream.fails = true
	a.Decide(ctx, as(extra()))
	stream.fails = false
	for range 3 {
		a.Decide(ctx, as(extra()))
	}
	if got := strings.Count(stream.String(), "would_deny"); got != 1 {
		t.Errorf("%d records, want 1:\n%s", got, stream.String())
	}
}

// A changed configuration reports every job again: the restriction may be another one.
func TestRestriction_ReportsAgainAfterAChange(t *testing.T) {
	var stream bytes.Buffer
	p := policy.Compile(rules(policy.Restriction{Name: "tried", Mode: policy.Report, Require: unmeetable}))
	a := authz.New(registry{}, p, decision.NewLog(&stream, nil), nil)
	ctx, _ := logged(t)
	a.Decide(ctx, as(extra()))
	a.Configure(p)
	a.Decide(ctx, as(extra()))
	if got := strings.Count(stream.String(), "would_deny"); got != 2 {
		t.Errorf("%d records, want 2:\n%s", got, stream.String())
	}
}

// failing is a stream that can refuse to be written.
type failing struct {
	bytes.Buffer

	fails bool
}

func (f *failing) Write(p []byte) (int, error) {
	if f.fails {
		return 0, bytes.ErrTooLarge
	}
	return f.Buffer.Write(p)
}
