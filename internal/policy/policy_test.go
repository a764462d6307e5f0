package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestPolicy_KnowsItsAgents(t *testing.T) {
	p := policy.Compile(policy.Rules{Agents: []policy.Agent{
		{ID: 4, Name: "path/to:agent"}, {ID: 5}, {ID: 6, Name: "a\nb"}, {ID: 7, Name: strings.Repeat("x", 200)},
	}})
	rows := []struct {
		agent  int64
		serves bool
		label  string
	}{
		{4, true, "agent 4 (path/to:agent)"}, {5, true, "agent 5"}, {6, true, "agent 6 (a\ufffdb)"}, {7, true, "agent 7 (" + strings.Repeat("x", 128) + "…)"},
		{8, false, "agent 8"}, {0, false, "agent 0"},
	}
	for _, row := range rows {
		if got := p.Serves(row.agent); got != row.serves {
			t.Errorf("serves agent %d: %t, want %t", row.agent, got, row.serves)
		}
		if got := p.Label(row.agent); got != row.label {
			t.Errorf("agent %d is called %q, want %q", row.agent, got, row.label)
		}
	}
}

// A job is asked about what some rule needs, whichever of its agents, or a grant, it uses; and about nothing else.
func TestPolicy_Needs(t *testing.T) {
	roles := policy.Requirements{Roles: policy.Roles{"owner"}}
	refs := policy.Requirements{Refs: policy.Refs{"main"}}
	inEU := policy.Requirements{Environments: policy.Environments{"eu/*"}}
	protectedEnvironment := policy.Requirements{EnvironmentProtected: true}
	wildcard := &job.Configuration{Environments: []string{"review/*"}}
	listed := job.Job{ProjectID: 150, Groups: job.KnownFact([]int64{23}), Agents: []job.Agent{{ID: 4, Configuration: wildcard}, {ID: 5, Err: job.ErrConfiguration}}}
	unlisted := job.Job{ProjectID: 150, Groups: job.KnownFact([]int64{23})}
	rows := []struct {
		name  string
		rules policy.Rules
		job   job.Job
		want  job.Needs
	}{
		{name: "no rules", job: unlisted},
		{name: "extra facts", rules: policy.Rules{ExtraFacts: job.FactCommit | job.FactURL}, job: unlisted, want: job.Needs{Facts: job.FactCommit | job.FactURL}},
		{name: "ci_access, of the agents whose entry can be used", job: listed, want: job.Needs{Environments: []string{"review/*"}}},
		{name: "a restriction of all", rules: policy.Rules{Restrictions: []policy.Restriction{{Require: roles}}}, job: unlisted,
			want: job.Needs{Facts: job.FactRoles}},
		{name: "a restriction in report mode", rules: policy.Rules{Restrictions: []policy.Restriction{{Mode: policy.Report, Require: roles}}}, job: unlisted,
			want: job.Needs{Facts: job.FactRoles}},
		{name: "a restriction of one of its agents", rules: policy.Rules{Restrictions: []policy.Restriction{{Agents: []int64{5, 6}, Require: roles}}},
			job: listed, want: job.Needs{Facts: job.FactRoles, Environments: []string{"review/*"}}},
		{name: "a restriction of other agents", rules: policy.Rules{Restrictions: []policy.Restriction{{Agents: []int64{6}, Require: roles}}}, job: unlisted},
		{name: "a grant that names it", rules: policy.Rules{Grants: []policy.Grant{{Groups: []int64{23}, Require: refs}}}, job: unlisted,
			want: job.Needs{Facts: job.FactRef}},
		{name: "a grant that does not", rules: policy.Rules{Grants: []policy.Grant{{Projects: []int64{1}, Require: refs}}}, job: unlisted},
		{name: "all together", rules: policy.Rules{
			ExtraFacts: job.FactURL, Restrictions: []policy.Restriction{{Require: inEU}, {Require: protectedEnvironment}},
			Grants: []policy.Grant{{Projects: []int64{150}, Require: refs}},
		}, job: listed, want: job.Needs{
			Facts:        job.FactURL | job.FactEnvironment | job.FactEnvironmentProtected | job.FactRef,
			Environments: []string{"eu/*", "review/*"}, AnyEnvironment: true,
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, policy.Compile(row.rules).Needs(&row.job)); diff != "" {
				t.Errorf("needs (-want +got):\n%s", diff)
			}
		})
	}
}

// An identity carries the facts that rules may ask for where nothing else is known of the job; without such rules none.
func TestPolicy_ExtrasOfIdentities(t *testing.T) {
	roles := policy.Requirements{Roles: policy.Roles{"owner"}}
	refs := policy.Requirements{Refs: policy.Refs{"main"}}
	rows := []struct {
		name            string
		rules           policy.Rules
		byAgent, byAny5 job.Facts
		byGrant         job.Facts
	}{
		{name: "no rules"},
		{name: "extra facts", rules: policy.Rules{ExtraFacts: job.FactURL}, byAgent: job.FactURL, byAny5: job.FactURL, byGrant: job.FactURL},
		{name: "a restriction of all", rules: policy.Rules{Restrictions: []policy.Restriction{{Require: roles}}},
			byAgent: job.FactRoles, byAny5: job.FactRoles, byGrant: job.FactRoles},
		{name: "a restriction of agent 4", rules: policy.Rules{Restrictions: []policy.Restriction{{Agents: []int64{4}, Require: roles}}}, byAgent: job.FactRoles},
		{name: "a grant by projects", rules: policy.Rules{Grants: []policy.Grant{{Projects: []int64{1}, Require: refs}}}, byGrant: job.FactRef},
		{name: "a grant by groups", rules: policy.Rules{Grants: []policy.Grant{{Groups: []int64{1}}}}, byGrant: job.FactGroups},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := policy.Compile(row.rules)
			if got := [3]job.Facts{p.ExtrasForAgent(4), p.ExtrasForAgent(5), p.ExtrasForGrants()}; got != [3]job.Facts{row.byAgent, row.byAny5, row.byGrant} {
				t.Errorf("facts by agent 4, by agent 5 and by a grant are %b, want %b, %b and %b", got, row.byAgent, row.byAny5, row.byGrant)
			}
		})
	}
}
