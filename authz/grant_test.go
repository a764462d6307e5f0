package authz_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// unverified decides once, and returns the counter of what GitLab's own match alone admits.
func unverified(t *testing.T, jobs authz.Jobs, r policy.Rules, attrs authorizer.Attributes) float64 {
	t.Helper()
	metrics := prometheus.NewRegistry()
	ctx, _ := logged(t)
	authz.New(jobs, policy.Compile(r), decision.NewLog(nil, nil), metrics).Decide(ctx, attrs)
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "jobgate_ci_access_unverified_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("the counter is not registered")
	return 0
}

// Grants are judged again on every request, by what is known now. Package policy tests how a grant is chosen.
func TestGrants_AreJudgedOnEveryRequest(t *testing.T) {
	byProject := policy.Grant{Name: "shop", Projects: []int64{150}}
	byGroup := policy.Grant{Name: "team", Groups: []int64{23}}
	fromMain := policy.Grant{Name: "shop", Projects: []int64{150}, Require: policy.Requirements{Refs: policy.Refs{"main"}}}
	rows := []struct {
		name   string
		grants []policy.Grant
		job    *job.Job // nil: unknown here
		extra  []string
		says   string // a part of the reason; empty: admitted
	}{
		{name: "project", grants: []policy.Grant{byProject}},
		{name: "project of a known job", grants: []policy.Grant{byProject}, job: knownJob()},
		{name: "group of a known job", grants: []policy.Grant{byGroup}, job: knownJob()},
		{name: "group by the extras", grants: []policy.Grant{byGroup}, extra: []string{groupKey, "25,23"}},
		{name: "group not in the extras", grants: []policy.Grant{byGroup}, says: "the project's groups are not known: jobgate could not ask"},
		{name: "group that the project has left", grants: []policy.Grant{byGroup},
			job: knownJob(func(j *job.Job) { j.Groups = job.KnownFact([]int64{25}) }), extra: []string{groupKey, "25,23"},
			says: "no grant of the cluster prod-eu names its project or a group of it"},
		{name: "another grant than at the login", grants: []policy.Grant{{Name: "new", Projects: []int64{150}}}},
		{name: "the grant is gone", says: "the cluster prod-eu does not admit job 1001 of project 150: no grant of the cluster prod-eu"},
		{name: "requirement met by a known job", grants: []policy.Grant{fromMain}, job: knownJob(func(j *job.Job) { j.Ref.Name = "main" })},
		{name: "requirement met by the extras", grants: []policy.Grant{fromMain}, extra: []string{refKey, "main"}},
		{name: "requirement that is new", grants: []policy.Grant{fromMain}, extra: []string{refKey, "feature"},
			says: `grant "shop": its branch or tag must be one of "main", and the job's is "feature"`},
		{name: "requirement that is not known", grants: []policy.Grant{fromMain}, says: "try again in a few seconds"},
		{name: "kube-apiserver's own identity", grants: []policy.Grant{byProject}, extra: []string{grantKey, "-"}},
		{name: "kube-apiserver's own identity, which no grant admits", extra: []string{grantKey, "-"}, says: "no grant of the cluster prod-eu"},
		{name: "requirement that the API server does not say", grants: []policy.Grant{fromMain}, extra: []string{grantKey, "-"},
			says: "the job's is not known: the API server's authentication configuration does not say it"},
		{name: "group that the API server cannot know", grants: []policy.Grant{byGroup}, extra: []string{grantKey, "-"},
			says: "the project's groups are not known: the API server's authentication configuration does not say it"},
		{name: "the second grant admits", grants: []policy.Grant{fromMain, byGroup}, extra: []string{refKey, "feature", groupKey, "23"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleNoGrant
			if row.says == "" {
				want = noOpinion
			}
			r := rules()
			r.Grants = row.grants
			message := wantRule(t, newAuthorizer(registry{job: row.job}, r), as(grantExtra(row.extra...)), want)
			if !strings.Contains(message, row.says) {
				t.Errorf("message is %q, want %q in it", message, row.says)
			}
		})
	}
}

// A grant neither helps nor harms a job that uses an agent.
func TestGrants_DoNotConcernJobsOfAgents(t *testing.T) {
	r := rules()
	r.Grants = []policy.Grant{{Name: "other", Projects: []int64{1}}}
	wantRule(t, newAuthorizer(registry{job: knownJob()}, r), as(extra()), noOpinion)
	r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
	gone := registry{job: knownJob(func(j *job.Job) { j.Agents = nil })}
	wantRule(t, newAuthorizer(gone, r), as(extra()), authz.RuleNotListed)
	wantRule(t, newAuthorizer(gone, r), as(grantExtra()), noOpinion)
}

func TestBlocked_IsJudgedOnEveryRequest(t *testing.T) {
	rows := []struct {
		name    string
		blocked policy.Blocked
		job     *job.Job // nil: unknown here
		extra   []string
		says    string // a part of the reason; empty: not blocked
	}{
		{name: "job", blocked: policy.Blocked{Jobs: []int64{1001}}, says: "job 1001 is blocked in this cluster (blocked.jobs); ask the cluster's admin"},
		{name: "project", blocked: policy.Blocked{Projects: []int64{150}}, says: "(blocked.projects)"},
		{name: "group, known here", blocked: policy.Blocked{Groups: []int64{23}}, job: knownJob(), says: "(blocked.groups)"},
		{name: "group by the extras", blocked: policy.Blocked{Groups: []int64{23}}, extra: []string{groupKey, "23"}, says: "(blocked.groups)"},
		{name: "group that is not known", blocked: policy.Blocked{Groups: []int64{23}}},
		{name: "user, known here", blocked: policy.Blocked{Users: []int64{9}}, job: knownJob(), says: "(blocked.users: 9)"},
		{name: "user by the extras", blocked: policy.Blocked{Users: []int64{9}}, extra: []string{userKey, "9"}, says: "(blocked.users: 9)"},
		{name: "user by a known job's extras, which is known better", blocked: policy.Blocked{Users: []int64{8}}, job: knownJob(),
			extra: []string{userKey, "8"}},
		{name: "user that is not known", blocked: policy.Blocked{Users: []int64{9}}},
		{name: "others", blocked: policy.Blocked{Jobs: []int64{1}, Projects: []int64{1}, Groups: []int64{1}, Users: []int64{1}}, job: knownJob()},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleBlocked
			if row.says == "" {
				want = noOpinion
			}
			r := rules()
			r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
			r.Blocked = row.blocked
			for _, values := range []map[string][]string{extra(row.extra...), grantExtra(row.extra...)} {
				message := wantRule(t, newAuthorizer(registry{job: row.job}, r), as(values), want)
				if !strings.Contains(message, row.says) {
					t.Errorf("message is %q, want %q in it", message, row.says)
				}
			}
		})
	}
}
