package authz_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
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
	p := policy(
		authz.Restriction{Name: "elsewhere", Namespaces: []string{"dev"}, Require: unmeetable},
		authz.Restriction{Name: "met", Require: authz.Requirements{Projects: []int64{150}}},
		authz.Restriction{Name: "unmet", Require: unmeetable},
	)
	restrictions := []string{"restriction elsewhere not applicable", "restriction met ok", "restriction unmet denied"}
	read := []string{"malformed ok", "unknown_agent ok", "denied_login ok"}
	listed := []string{"not_listed ok", "agent_configuration ok", "contradiction ok"}
	staging := func(j *job.Job) { j.Agents[0].Configuration.Environments = []string{"staging"} }
	rows := []struct {
		name  string
		attrs authorizer.AttributesRecord
		job   *job.Job
		want  [][]string
	}{
		{"no job's identity", as(nil), knownJob(), [][]string{{"malformed not applicable"}}},
		{"malformed extras", as(extra("agent.gitlab.com/id", "x")), knownJob(), [][]string{{"malformed denied"}}},
		{"unknown agent", as(extra("agent.gitlab.com/id", "5")), knownJob(), [][]string{{"unknown_agent denied"}}},
		{"known job", as(extra()), knownJob(),
			[][]string{read, listed, {"ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{"unknown job", as(extra()), nil, [][]string{read,
			{"not_listed not applicable", "agent_configuration not applicable", "contradiction not applicable"},
			{"ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{"denied login", as(extra(deniedKey, "no")), knownJob(), [][]string{{"malformed ok", "unknown_agent ok", "denied_login denied"},
			listed, {"ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{"not listed", as(extra()), knownJob(func(j *job.Job) { j.Agents = nil }), [][]string{read,
			{"not_listed denied", "agent_configuration not applicable", "contradiction not applicable"},
			{"ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{"broken entry", as(extra()), knownJob(func(j *job.Job) { j.Agents[0].Err = gitlab.ErrConfiguration }), [][]string{read,
			{"not_listed ok", "agent_configuration denied", "contradiction not applicable"},
			{"ci_access not applicable", "impersonation not applicable"}, restrictions}},
		{"contradiction", as(extra()), knownJob(staging, func(j *job.Job) { j.PipelineID = 1 }), [][]string{read,
			{"not_listed ok", "agent_configuration ok", "contradiction denied"},
			{"ci_access denied", "impersonation not applicable"}, restrictions}},
		{"ci_access, satisfied", as(extra(slugKey, "staging", tierKey, "staging")), knownJob(staging, inEnvironment("staging", "staging", "")),
			[][]string{read, listed, {"ci_access ok", "impersonation not applicable"}, restrictions}},
		{"ci_access and impersonation", as(extra(), request("impersonate", "", "", "users")), knownJob(staging),
			[][]string{read, listed, {"ci_access denied", "impersonation denied"}, restrictions}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			verdicts := newAuthorizer(t, registry{}, p).Explain(row.attrs, row.job)
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
				if v.Outcome == authz.Denied {
					wantReadable(t, v.Reason)
				}
			}
		})
	}
}
