package authz_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// outcomes are verdicts without their reasons: "rule outcome", and for a restriction its name between them.
func outcomes(verdicts []authz.Verdict) []string {
	var lines []string
	for _, v := range verdicts {
		words := []string{string(v.Rule), v.Restriction, string(v.Outcome)}
		lines = append(lines, strings.Join(strings.Fields(strings.Join(words, " ")), " "))
	}
	return lines
}

func TestExplain(t *testing.T) {
	r := rules(
		policy.Restriction{Name: "elsewhere", Namespaces: []string{"dev"}, Require: unmeetable},
		policy.Restriction{Name: "met", Require: policy.Requirements{Projects: policy.Projects{150}}},
		policy.Restriction{Name: "tried", Mode: policy.Report, Require: unmeetable},
		policy.Restriction{Name: "unmet", Require: unmeetable},
	)
	r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}, Require: policy.Requirements{Refs: policy.Refs{"feature"}}}}
	r.Blocked.Users = []int64{8}
	restrictions := []string{"restriction elsewhere not applicable", "restriction met ok", "restriction tried would deny", "restriction unmet denied"}
	read := []string{"malformed ok", "unknown_agent ok", "denied_login ok"}
	listed := []string{"not_listed ok", "agent_configuration ok", "contradiction ok"}
	unlisted := []string{"not_listed not applicable", "agent_configuration not applicable"}
	rest := []string{"blocked ok", "ci_access not applicable", "impersonation not applicable"}
	staging := asking(job.Configuration{AccessAs: job.AsCIJob, Environments: []string{"staging"}})
	rows := []struct {
		name  string
		attrs authorizer.AttributesRecord
		job   *job.Job
		want  [][]string
	}{
		{name: "no job's identity", attrs: as(nil), job: knownJob(), want: [][]string{{"malformed not applicable"}}},
		{name: "discovery", attrs: as(extra(), nonResource("get", "/api")), job: knownJob(), want: [][]string{{"discovery not applicable"}}},
		{name: "malformed extras", attrs: as(extra(agentKey, "x")), job: knownJob(), want: [][]string{{"malformed denied"}}},
		{name: "unknown agent", attrs: as(extra(agentKey, "5")), job: knownJob(), want: [][]string{{"unknown_agent denied"}}},
		{name: "unknown cluster", attrs: as(grantExtra(clusterKey, "x")), job: knownJob(), want: [][]string{{"unknown_agent denied"}}},
		{name: "known job", attrs: as(extra()), job: knownJob(), want: [][]string{read, listed, rest, restrictions}},
		{name: "unknown job", attrs: as(extra()), want: [][]string{read, unlisted, {"contradiction not applicable"}, rest, restrictions}},
		{name: "denied login", attrs: as(extra(deniedKey, "no")), job: knownJob(),
			want: [][]string{{"malformed ok", "unknown_agent ok", "denied_login denied"}, listed, rest, restrictions}},
		{name: "not listed", attrs: as(extra()), job: knownJob(func(j *job.Job) { j.Agents = nil }), want: [][]string{read,
			{"not_listed denied", "agent_configuration not applicable", "contradiction not applicable"}, rest, restrictions}},
		{name: "broken entry", attrs: as(extra()),
			job: knownJob(func(j *job.Job) { j.Agents[0].Configuration, j.Agents[0].Err = nil, job.ErrConfiguration }), want: [][]string{read,
				{"not_listed ok", "agent_configuration denied", "contradiction not applicable"}, rest, restrictions}},
		{name: "contradiction", attrs: as(extra()), job: knownJob(staging, func(j *job.Job) { j.PipelineID = 1 }), want: [][]string{read,
			{"not_listed ok", "agent_configuration ok", "contradiction denied"},
			{"blocked ok", "ci_access denied", "impersonation not applicable"}, restrictions}},
		{name: "blocked", attrs: as(extra()), job: knownJob(func(j *job.Job) { j.UserID = 8 }), want: [][]string{read, listed,
			{"blocked denied", "ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{name: "ci_access, satisfied", attrs: as(extra(slugKey, "staging", tierKey, "staging")),
			job:  knownJob(staging, inEnvironment("staging", "staging", "")),
			want: [][]string{read, listed, {"blocked ok", "ci_access ok", "impersonation not applicable"}, restrictions}},
		{name: "ci_access and impersonation", attrs: as(extra(), request("impersonate", "", "", "users")), job: knownJob(staging),
			want: [][]string{read, listed, {"blocked ok", "ci_access denied", "impersonation elsewhere denied"},
				{"restriction elsewhere denied"}, restrictions[1:]}},
		{name: "a grant that admits", attrs: as(grantExtra()), job: knownJob(onRef(job.Protected)),
			want: [][]string{read, unlisted, {"contradiction ok", "blocked ok", "no_grant ok", "impersonation not applicable"}, restrictions}},
		{name: "a grant that does not", attrs: as(grantExtra(refKey, "main")),
			want: [][]string{read, unlisted, {"contradiction not applicable", "blocked ok", "no_grant denied", "impersonation not applicable"}, restrictions}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			verdicts := authz.Explain(policy.Compile(r), row.attrs, row.job)
			var want []string
			for _, part := range row.want {
				want = append(want, part...)
			}
			if diff := cmp.Diff(want, outcomes(verdicts)); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			for _, v := range verdicts {
				if (v.Reason == "") != (v.Outcome == authz.OK) {
					t.Errorf("%s is %s for the reason %q", v.Rule, v.Outcome, v.Reason)
				}
				if v.Outcome == authz.Denied || v.Outcome == authz.WouldDeny {
					wantReadable(t, v.Reason)
				}
			}
		})
	}
}
