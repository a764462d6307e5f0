package authz_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

func TestAuthorize_WhatIsKnownOfTheJob(t *testing.T) {
	rows := []struct {
		name string
		jobs authz.Jobs
		want authz.Rule
		says string
	}{
		{"live", registry{job: knownJob()}, noOpinion, ""},
		{"never seen here", registry{}, noOpinion, ""},
		{"never seen here, by a wrapped error", registry{err: fmt.Errorf("look up: %w", job.ErrUnknown)}, noOpinion, ""},
		{"ended", registry{err: &gitlab.RejectedError{Status: 401}}, authz.RuleEnded, "job 1001 of project 150 has ended"},
		{"ended, by a wrapped error", registry{err: fmt.Errorf("look up: %w", &gitlab.RejectedError{Status: 401})}, authz.RuleEnded, "has ended"},
		{"its token is no job's any more", registry{err: &gitlab.RejectedError{Status: 404}}, authz.RuleEnded, "has ended"},
		{"its user was blocked", registry{err: &gitlab.RejectedError{Status: 403}}, authz.RuleEnded, "the user of job 1001"},
		{"not confirmed for too long", registry{err: errors.New("GitLab is away")}, authz.RuleUnconfirmed, "GitLab has not confirmed"},
		{"not confirmed in the request's time", registry{err: context.DeadlineExceeded}, authz.RuleUnconfirmed, "GitLab has not confirmed"},
		{"an answer without a job", noAnswer{}, authz.RuleUnconfirmed, "GitLab has not confirmed"},
		{"agent no longer listed", registry{job: knownJob(func(j *job.Job) { j.Agents = nil })}, authz.RuleNotListed,
			"no longer lets job 1001 of project 150 use agent 4 (path/to:agent)"},
		{"only another agent listed", registry{job: knownJob(func(j *job.Job) { j.Agents[0].ID = 5 })}, authz.RuleNotListed, "ci_access"},
		{"the agent's entry has been broken", registry{job: knownJob(func(j *job.Job) {
			j.Agents[0].Err = fmt.Errorf("%w: 2 modes where one belongs", gitlab.ErrConfiguration)
		})}, authz.RuleConfiguration, "2 modes where one belongs"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := policy()
			p.AgentNames = map[int64]string{agentID: "path/to:agent"}
			if message := wantRule(t, newAuthorizer(t, row.jobs, p), as(extra()), row.want); !strings.Contains(message, row.says) {
				t.Errorf("message is %q, want %q in it", message, row.says)
			}
		})
	}
}

// noAnswer breaks the contract of Jobs.
type noAnswer struct{}

func (noAnswer) LookupID(context.Context, int64) (job.Answer, error) { return job.Answer{}, nil }

func TestAuthorize_DeniedLogin(t *testing.T) {
	rows := []struct{ name, reason, want string }{
		{"as given", `its entry is for "production", and the job's is "staging"`,
			`jobgate: its entry is for "production", and the job's is "staging"`},
		{"signed only once", "jobgate: no", "jobgate: no"},
		{"no reason", "", "jobgate: job 1001 of project 150 was refused when it logged in, without a reason"},
		{"control characters", "a\x1b[2Jb\nc", "jobgate: a\ufffd[2Jb\ufffdc"},
		{"bounded", strings.Repeat("é", 2000), "jobgate: " + strings.Repeat("é", 1024-len("jobgate: ")) + "…"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			values := extra()
			values[deniedKey] = []string{row.reason}
			for name, jobs := range map[string]registry{
				"known": {job: knownJob()}, "unknown": {}, "ended": {err: &gitlab.RejectedError{Status: 401}},
			} {
				a := newAuthorizer(t, jobs, policy())
				if got := wantRule(t, a, as(values), authz.RuleDeniedLogin); got != row.want {
					t.Errorf("%s job: message is %q, want %q", name, got, row.want)
				}
			}
		})
	}
}

func TestAuthorize_ContradictionIsDenied(t *testing.T) {
	environment := inEnvironment("production", "production", "production")
	rows := []struct {
		name  string
		job   *job.Job
		extra map[string][]string
		about string // empty: no contradiction
	}{
		{"all the same", knownJob(environment), extra(slugKey, "production", tierKey, "production", nameKey, "production"), ""},
		{"a name that only the registry knows", knownJob(environment), extra(slugKey, "production", tierKey, "production"), ""},
		{"a name that only the extras know", knownJob(inEnvironment("production", "production", "")),
			extra(slugKey, "production", tierKey, "production", nameKey, "production"), ""},
		{"another job", knownJob(func(j *job.Job) { j.ID = 2 }), extra(), "its id"},
		{"another project", knownJob(func(j *job.Job) { j.ProjectID = 2 }), extra(), "its project"},
		{"another pipeline", knownJob(func(j *job.Job) { j.PipelineID = 2 }), extra(), "its pipeline"},
		{"no pipeline in the extras", knownJob(), extra("agent.gitlab.com/ci_pipeline_id", "-"), ""},
		{"another project of the agent", knownJob(func(j *job.Job) { j.Agents[0].ConfigProjectID = 2 }), extra(), "its agent's project"},
		{"no project of the agent in the extras", knownJob(), extra("agent.gitlab.com/config_project_id", "-"), ""},
		{"another slug", knownJob(environment), extra(slugKey, "staging", tierKey, "production"), "its environment"},
		{"another tier", knownJob(environment), extra(slugKey, "production", tierKey, "other"), "its environment"},
		{"another name", knownJob(environment), extra(slugKey, "production", tierKey, "production", nameKey, "production-"), "its environment"},
		{"an environment that is gone", knownJob(), extra(slugKey, "production", tierKey, "production"), "its environment"},
		{"an environment that is new", knownJob(environment), extra(), "its environment"},
		{"the same ref", knownJob(func(j *job.Job) { j.Facts.Ref = "main" }), extra(refKey, "main"), ""},
		{"another ref", knownJob(func(j *job.Job) { j.Facts.Ref = "main" }), extra(refKey, "feature"), "its ref"},
		{"another protection, which can change", knownJob(func(j *job.Job) { j.Facts.RefProtected = job.Unprotected }),
			extra(protectedKey, "true"), ""},
		{"other groups and roles, which can change", knownJob(), extra(groupKey, "1", roleKey, "owner"), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleContradiction
			if row.about == "" {
				want = noOpinion
			}
			message := wantRule(t, newAuthorizer(t, registry{job: row.job}, policy()), as(row.extra), want)
			if !strings.Contains(message, row.about) {
				t.Errorf("message is %q, want %q in it", message, row.about)
			}
		})
	}
}

// The first rule that fails is the one that denies: each row breaks everything from one rule on.
func TestAuthorize_OrderOfJudgement(t *testing.T) {
	broken := policy(
		authz.Restriction{Name: "first", Namespaces: []string{"*"}, Require: authz.Requirements{Projects: []int64{1}}},
		authz.Restriction{Name: "second", Require: authz.Requirements{Projects: []int64{1}}})
	entry := func(j *job.Job) { j.Agents[0].Configuration.Environments = []string{"production"} }
	impersonate := request("impersonate", "", "", "users")
	rows := []struct {
		name        string
		jobs        registry
		extra       map[string][]string
		impersonate bool
		want        authz.Rule
		says        string
	}{
		{"malformed extras", registry{err: &gitlab.RejectedError{}}, extra("agent.gitlab.com/id", "x", deniedKey, "no"), true, authz.RuleMalformed, ""},
		{"unknown agent", registry{err: &gitlab.RejectedError{}}, extra("agent.gitlab.com/id", "5", deniedKey, "no"), true, authz.RuleUnknownAgent, ""},
		{"denied login", registry{err: &gitlab.RejectedError{}}, extra(deniedKey, "no"), true, authz.RuleDeniedLogin, ""},
		{"ended", registry{err: &gitlab.RejectedError{}}, extra(), true, authz.RuleEnded, ""},
		{"not listed", registry{job: knownJob(func(j *job.Job) { j.Agents, j.ProjectID = nil, 2 })}, extra(), true, authz.RuleNotListed, ""},
		{"broken entry", registry{job: knownJob(func(j *job.Job) { j.Agents[0].Err, j.ProjectID = gitlab.ErrConfiguration, 2 })}, extra(), true,
			authz.RuleConfiguration, ""},
		{"contradiction", registry{job: knownJob(entry, func(j *job.Job) { j.ProjectID = 2 })}, extra(), true, authz.RuleContradiction, ""},
		{"ci_access", registry{job: knownJob(entry)}, extra(), true, authz.RuleCIAccess, ""},
		{"impersonation", registry{job: knownJob()}, extra(), true, authz.RuleImpersonation, `"first"`},
		{"restrictions, the first first", registry{job: knownJob()}, extra(), false, authz.RuleRestriction, `"first"`},
		{"restrictions, for an unknown job", registry{}, extra(), false, authz.RuleRestriction, `"first"`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			attrs := as(row.extra)
			if row.impersonate {
				impersonate(&attrs)
			}
			message := wantRule(t, newAuthorizer(t, row.jobs, broken), attrs, row.want)
			if !strings.Contains(message, row.says) {
				t.Errorf("message is %q, want %q in it", message, row.says)
			}
		})
	}
}

func TestConfigure_TakesEffectForTheNextRequest(t *testing.T) {
	a := newAuthorizer(t, registry{job: knownJob()}, policy())
	wantRule(t, a, as(extra()), noOpinion)
	if err := a.Configure(authz.Policy{Agents: []int64{5}}); err != nil {
		t.Fatal(err)
	}
	wantRule(t, a, as(extra()), authz.RuleUnknownAgent)
	nobody := authz.Restriction{Name: "nobody", Require: authz.Requirements{Projects: []int64{1}}}
	if err := a.Configure(policy(nobody)); err != nil {
		t.Fatal(err)
	}
	wantRule(t, a, as(extra()), authz.RuleRestriction)
	if err := a.Configure(policy(nobody, nobody)); err == nil {
		t.Fatal("two restrictions of one name are accepted")
	}
	wantRule(t, a, as(extra()), authz.RuleRestriction)
}

func TestNew_RefusesWhatWouldHoldNobodyBack(t *testing.T) {
	require := authz.Requirements{Projects: []int64{1}}
	rows := []struct {
		name         string
		restrictions []authz.Restriction
		ok           bool
	}{
		{"none", nil, true},
		{"one", []authz.Restriction{{Name: "a", Require: require}}, true},
		{"the core group", []authz.Restriction{{Name: "a", APIGroups: []string{""}, Require: require}}, true},
		{"a name twice", []authz.Restriction{{Name: "a", Require: require}, {Name: "b", Require: require}, {Name: "a", Require: require}}, false},
		{"no name", []authz.Restriction{{Require: require}}, false},
		{"a blank name", []authz.Restriction{{Name: " ", Require: require}}, false},
		{"no requirement", []authz.Restriction{{Name: "a"}}, false},
		{"a blank namespace", []authz.Restriction{{Name: "a", Namespaces: []string{"b", ""}, Require: require}}, false},
		{"a blank verb", []authz.Restriction{{Name: "a", Verbs: []string{" "}, Require: require}}, false},
		{"a blank resource", []authz.Restriction{{Name: "a", Resources: []string{""}, Require: require}}, false},
		{"a blank environment", []authz.Restriction{{Name: "a", Require: authz.Requirements{Environments: []string{""}}}}, false},
		{"a blank tier", []authz.Restriction{{Name: "a", Require: authz.Requirements{EnvironmentTiers: []string{""}}}}, false},
		{"a blank role", []authz.Restriction{{Name: "a", Require: authz.Requirements{Roles: []string{""}}}}, false},
		{"a protected ref alone", []authz.Restriction{{Name: "a", Require: authz.Requirements{ProtectedRef: true}}}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := authz.New(registry{}, policy(row.restrictions...))
			if (err == nil) != row.ok {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAuthorize_CallerMayChangeThePolicyItGave(t *testing.T) {
	p := policy(authz.Restriction{Name: "nobody", Verbs: []string{"create"}, Require: authz.Requirements{Projects: []int64{1}}})
	a := newAuthorizer(t, registry{}, p)
	p.Agents[0], p.Restrictions[0].Verbs[0], p.Restrictions[0].Require.Projects[0] = 9, "get", 150
	wantRule(t, a, as(extra()), authz.RuleRestriction)
}

func TestAuthorize_LogsWhoAndWhatButNotTheRequest(t *testing.T) {
	a := newAuthorizer(t, registry{err: &gitlab.RejectedError{Status: 401}}, policy())
	ctx, log := logged(t)
	attrs := as(extra(), request("create", "prod", "apps", "deployments/"+strings.Repeat("s", 100)), func(r *authorizer.AttributesRecord) {
		r.Name, r.Path = "the-name", "/the/path"
	})
	if a.Decide(ctx, attrs) == nil {
		t.Fatal("no denial")
	}
	line := log.String()
	for _, field := range []string{`rule="ended"`, "job=1001", "project=150", "agent=4", `verb="create"`, `resource="deployments"`,
		`namespace="prod"`, `subresource="` + strings.Repeat("s", 64) + `…"`} {
		if !strings.Contains(line, field) {
			t.Errorf("the line lacks %s: %s", field, line)
		}
	}
	for _, secret := range []string{"the-name", "the/path", "jdoe", "gitlab:ci_job"} {
		if strings.Contains(line, secret) {
			t.Errorf("the line has %q of the request: %s", secret, line)
		}
	}
}

func TestAuthorize_FloodLeavesABoundedLog(t *testing.T) {
	a := newAuthorizer(t, registry{}, authz.Policy{})
	ctx, log := logged(t)
	for range 5000 {
		if a.Decide(ctx, as(extra())) == nil {
			t.Fatal("no denial")
		}
	}
	if got := strings.Count(log.String(), "\n"); got < 1000 || got > 2500 {
		t.Errorf("%d lines for 5,000 denials, want the burst of 1,000 and few more", got)
	}
}

// kubectl asks for discovery first: a denial there would keep the reason of the real request from its reader.
func TestAuthorize_DiscoveryIsLeftToRBAC(t *testing.T) {
	rows := []struct {
		name, verb, path string
		denied           bool
	}{
		{"core", "get", "/api", false},
		{"a core version", "get", "/api/v1", false},
		{"groups", "get", "/apis", false},
		{"a group", "get", "/apis/apps/v1", false},
		{"version", "get", "/version", false},
		{"schemas", "get", "/openapi/v3", false},
		{"another verb", "post", "/api", true},
		{"health", "get", "/readyz", true},
		{"metrics", "get", "/metrics", true},
		{"a name that only begins alike", "get", "/apiserver", true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			a, err := authz.New(registry{err: &gitlab.RejectedError{Status: 401}}, authz.Policy{Agents: []int64{4}})
			if err != nil {
				t.Fatal(err)
			}
			denial := a.Decide(t.Context(), authorizer.AttributesRecord{
				User: &user.DefaultInfo{Extra: map[string][]string{
					extras.Job: {"1001"}, extras.Agent: {"4"}, extras.Project: {"150"},
				}},
				Verb: row.verb, Path: row.path,
			})
			if (denial != nil) != row.denied {
				t.Errorf("denial is %+v, want one: %t", denial, row.denied)
			}
		})
	}
}
