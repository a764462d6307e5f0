package authz_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// ended is what the registry says of a job that has ended.
var ended = registry{err: &job.RejectedError{Rejection: job.NotRunning}}

func TestAuthorize_WhatIsKnownOfTheJob(t *testing.T) {
	rejected := func(r job.Rejection) registry { return registry{err: &job.RejectedError{Rejection: r}} }
	rows := []struct {
		name  string
		jobs  authz.Jobs
		extra map[string][]string // nil: those of the agent
		want  authz.Rule
		says  string
	}{
		{name: "live", jobs: registry{job: knownJob()}},
		{name: "never seen here", jobs: registry{}},
		{name: "never seen here, by a wrapped error", jobs: registry{err: fmt.Errorf("look up: %w", job.ErrUnknown)}},
		{name: "ended", jobs: ended, want: authz.RuleEnded, says: "job 1001 of project 150 has ended"},
		{name: "ended, by a wrapped error", jobs: registry{err: fmt.Errorf("look up: %w", ended.err)}, want: authz.RuleEnded, says: "has ended"},
		{name: "its token is no longer a job's", jobs: rejected(job.NotAJob), want: authz.RuleEnded, says: "has ended"},
		{name: "its ID token has expired", jobs: rejected(job.Expired), want: authz.RuleEnded, says: "has ended"},
		{name: "its user was blocked", jobs: rejected(job.ForbiddenUser), want: authz.RuleEnded, says: "the user of job 1001"},
		{name: "not confirmed for too long", jobs: registry{err: errors.New("GitLab is away")},
			want: authz.RuleUnconfirmed, says: "GitLab has not confirmed"},
		{name: "not confirmed in the request's time", jobs: registry{err: context.DeadlineExceeded},
			want: authz.RuleUnconfirmed, says: "GitLab has not confirmed"},
		{name: "GitLab must be asked and cannot be", jobs: registry{err: job.ErrCannotConfirm}, want: authz.RuleUnconfirmed,
			says: "jobgate has no access token to ask GitLab whether job 1001 of project 150 is running; ask the cluster's admin to set gitlab.tokenFile"},
		{name: "logged in by kube-apiserver itself, and not confirmed", jobs: registry{err: job.ErrUnconfirmed}, extra: grantExtra(grantKey, "-"),
			want: authz.RuleUnconfirmed, says: "GitLab has not confirmed yet that job 1001 of project 150 is running"},
		{name: "an answer without a job", jobs: noAnswer{}, want: authz.RuleUnconfirmed, says: "GitLab has not confirmed"},
		{name: "agent no longer listed", jobs: registry{job: knownJob(func(j *job.Job) { j.Agents = nil })},
			want: authz.RuleNotListed, says: "no longer lets job 1001 of project 150 use agent 4 (path/to:agent)"},
		{name: "only another agent listed", jobs: registry{job: knownJob(func(j *job.Job) { j.Agents[0].ID = 5 })},
			want: authz.RuleNotListed, says: "ci_access"},
		{name: "the agent's entry has been broken", jobs: registry{job: knownJob(func(j *job.Job) {
			j.Agents[0].Configuration, j.Agents[0].Err = nil, fmt.Errorf("%w: 2 modes instead of one", job.ErrConfiguration)
		})}, want: authz.RuleConfiguration, says: "2 modes instead of one"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := rules()
			r.Agents[0].Name = "path/to:agent"
			if row.extra == nil {
				row.extra = extra()
			}
			if message := wantRule(t, newAuthorizer(row.jobs, r), as(row.extra), row.want); !strings.Contains(message, row.says) {
				t.Errorf("message is %q, want %q in it", message, row.says)
			}
		})
	}
}

// noAnswer breaks the contract of Jobs.
type noAnswer struct{}

func (noAnswer) LookupID(context.Context, job.ByID) (job.Answer, error) { return job.Answer{}, nil }

// asked keeps what a job was looked up by.
type asked struct{ by *job.ByID }

func (a asked) LookupID(_ context.Context, by job.ByID) (job.Answer, error) {
	*a.by = by
	return job.Answer{}, job.ErrUnknown
}

// A job that was never seen here is asked about by what its identity says: only an ID token leaves its own id there, and
// such a job ends as soon as it is canceled.
func TestAuthorize_LooksTheJobUpByWhatItsIdentitySays(t *testing.T) {
	rows := []struct {
		name  string
		extra map[string][]string
		want  job.ByID
	}{
		{name: "through an agent", extra: extra(), want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.JobToken}},
		{name: "through a grant, by its job token", extra: grantExtra(), want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.JobToken}},
		{name: "through a grant, by an ID token", extra: grantExtra(credentialKey, "JTI=a-b-c"),
			want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.IDToken}},
		{name: "logged in by kube-apiserver itself", extra: grantExtra(grantKey, "-", credentialKey, "JTI=a-b-c"),
			want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}},
		{name: "logged in by kube-apiserver itself, which does not say the token's id", extra: grantExtra(grantKey, "-"),
			want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}},
		{name: "with the id of a certificate", extra: extra(credentialKey, "X509SHA256=abc"),
			want: job.ByID{ID: jobID, ProjectID: 150, Kind: job.JobToken}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var got job.ByID
			r := rules()
			r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
			wantRule(t, newAuthorizer(asked{&got}, r), as(row.extra), noOpinion)
			if got != row.want {
				t.Errorf("looked up by %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestAuthorize_DeniedLogin(t *testing.T) {
	rows := []struct{ name, reason, want string }{
		{"as given", `its entry is for "production", and the job's is "staging"`,
			`jobgate: its entry is for "production", and the job's is "staging"`},
		{"the prefix only once", "jobgate: no", "jobgate: no"},
		{"no reason", "", "jobgate: job 1001 of project 150 was refused when it logged in, without a reason"},
		{"control characters", "a\x1b[2Jb\nc", "jobgate: a\ufffd[2Jb\ufffdc"},
		{"bounded", strings.Repeat("é", 2000), "jobgate: " + strings.Repeat("é", 1024-len("jobgate: ")) + "…"},
	}
	identities := map[string]map[string][]string{"agent": extra(), "cluster": grantExtra(grantKey, "-")}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			for via, values := range identities {
				values[deniedKey] = []string{row.reason}
				for name, jobs := range map[string]registry{"known": {job: knownJob()}, "unknown": {}, "ended": ended} {
					if got := wantRule(t, newAuthorizer(jobs, rules()), as(values), authz.RuleDeniedLogin); got != row.want {
						t.Errorf("%s job through its %s: message is %q, want %q", name, via, got, row.want)
					}
				}
			}
		})
	}
}

func TestAuthorize_ContradictionIsDenied(t *testing.T) {
	environment := inEnvironment("production", "production", "production")
	inProduction := []string{slugKey, "production", tierKey, "production"}
	onMain := func(j *job.Job) { j.Ref.Name = "main" }
	rows := []struct {
		name  string
		job   *job.Job
		extra []string
		about string // empty: no contradiction
	}{
		{name: "all the same", job: knownJob(environment), extra: append(inProduction, nameKey, "production")},
		{name: "a name that only the registry knows", job: knownJob(environment), extra: inProduction},
		{name: "a name that only the extras know", job: knownJob(inEnvironment("production", "production", "")),
			extra: append(inProduction, nameKey, "production")},
		{name: "another job", job: knownJob(func(j *job.Job) { j.ID = 2 }), about: "its id"},
		{name: "another project", job: knownJob(func(j *job.Job) { j.ProjectID = 2 }), about: "its project"},
		{name: "another pipeline", job: knownJob(func(j *job.Job) { j.PipelineID = 2 }), about: "its pipeline"},
		{name: "no pipeline in the extras", job: knownJob(), extra: []string{pipelineKey, "-"}},
		{name: "another project of the agent", job: knownJob(func(j *job.Job) { j.Agents[0].ConfigProjectID = 2 }), about: "its agent's project"},
		{name: "no project of the agent in the extras", job: knownJob(), extra: []string{configKey, "-"}},
		{name: "another slug", job: knownJob(environment), extra: []string{slugKey, "staging", tierKey, "production"}, about: "its environment"},
		{name: "another tier", job: knownJob(environment), extra: []string{slugKey, "production", tierKey, "other"}, about: "its environment"},
		{name: "another name", job: knownJob(environment), extra: append(inProduction, nameKey, "production-"), about: "its environment"},
		{name: "an environment that is gone", job: knownJob(), extra: inProduction, about: "its environment"},
		{name: "an environment that is new", job: knownJob(environment), about: "its environment"},
		{name: "the same ref", job: knownJob(onMain), extra: []string{refKey, "main"}},
		{name: "another ref", job: knownJob(onMain), extra: []string{refKey, "feature"}, about: "its ref"},
		{name: "another protection, which can change", job: knownJob(onRef(job.Unprotected)), extra: []string{protectedKey, "true"}},
		{name: "other groups and roles, which can change", job: knownJob(), extra: []string{groupKey, "1", roleKey, "owner"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := authz.RuleContradiction
			if row.about == "" {
				want = noOpinion
			}
			message := wantRule(t, newAuthorizer(registry{job: row.job}, rules()), as(extra(row.extra...)), want)
			if !strings.Contains(message, row.about) {
				t.Errorf("message is %q, want %q in it", message, row.about)
			}
		})
	}
}

// The first rule that fails is the one that denies: each row breaks everything from one rule on.
func TestAuthorize_OrderOfJudgement(t *testing.T) {
	r := rules(
		policy.Restriction{Name: "first", Namespaces: []string{"*"}, Require: unmeetable},
		policy.Restriction{Name: "second", Require: unmeetable})
	blocking := r
	blocking.Blocked.Projects = []int64{150}
	entry := asking(job.Configuration{AccessAs: job.AsCIJob, Environments: []string{"production"}})
	broken := func(j *job.Job) { j.Agents[0].Err, j.ProjectID = job.ErrConfiguration, 2 }
	impersonate := request("impersonate", "", "", "users")
	rows := []struct {
		name    string
		jobs    registry
		rules   policy.Rules
		extra   map[string][]string
		request func(*authorizer.AttributesRecord)
		want    authz.Rule
	}{
		{name: "malformed extras", jobs: ended, rules: blocking, extra: extra(agentKey, "x", deniedKey, "no"), request: impersonate,
			want: authz.RuleMalformed},
		{name: "unknown agent", jobs: ended, rules: blocking, extra: extra(agentKey, "5", deniedKey, "no"), request: impersonate,
			want: authz.RuleUnknownAgent},
		{name: "unknown cluster", jobs: ended, rules: blocking, extra: grantExtra(clusterKey, "other"), request: impersonate,
			want: authz.RuleUnknownAgent},
		{name: "denied login", jobs: ended, rules: blocking, extra: extra(deniedKey, "no"), request: impersonate, want: authz.RuleDeniedLogin},
		{name: "ended", jobs: ended, rules: blocking, extra: extra(), request: impersonate, want: authz.RuleEnded},
		{name: "not listed", jobs: registry{job: knownJob(func(j *job.Job) { j.Agents, j.ProjectID = nil, 2 })}, rules: blocking,
			extra: extra(), request: impersonate, want: authz.RuleNotListed},
		{name: "broken entry", jobs: registry{job: knownJob(broken)}, rules: blocking, extra: extra(), request: impersonate,
			want: authz.RuleConfiguration},
		{name: "contradiction", jobs: registry{job: knownJob(entry, func(j *job.Job) { j.PipelineID = 2 })}, rules: blocking,
			extra: extra(), request: impersonate, want: authz.RuleContradiction},
		{name: "blocked", jobs: registry{job: knownJob(entry)}, rules: blocking, extra: extra(), request: impersonate, want: authz.RuleBlocked},
		{name: "ci_access", jobs: registry{job: knownJob(entry)}, rules: r, extra: extra(), request: impersonate, want: authz.RuleCIAccess},
		{name: "no grant", jobs: registry{job: knownJob()}, rules: r, extra: grantExtra(), request: impersonate, want: authz.RuleNoGrant},
		{name: "impersonation", jobs: registry{job: knownJob()}, rules: r, extra: extra(), request: impersonate, want: authz.RuleImpersonation},
		{name: "restrictions", jobs: registry{job: knownJob()}, rules: r, extra: extra(), request: func(*authorizer.AttributesRecord) {},
			want: authz.RuleRestriction},
		{name: "restrictions, for an unknown job", rules: r, extra: extra(), request: func(*authorizer.AttributesRecord) {},
			want: authz.RuleRestriction},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			message := wantRule(t, newAuthorizer(row.jobs, row.rules), as(row.extra, row.request), row.want)
			if strings.Contains(message, `restriction "second"`) {
				t.Errorf("the first restriction is not the one that denies: %s", message)
			}
		})
	}
}

func TestConfigure_TakesEffectForTheNextRequest(t *testing.T) {
	a := newAuthorizer(registry{job: knownJob()}, rules())
	wantRule(t, a, as(extra()), noOpinion)
	a.Configure(policy.Compile(policy.Rules{Agents: []policy.Agent{{ID: 5}}}))
	wantRule(t, a, as(extra()), authz.RuleUnknownAgent)
	a.Configure(policy.Compile(rules(policy.Restriction{Name: "closed", Require: unmeetable})))
	wantRule(t, a, as(extra()), authz.RuleRestriction)
	blocking := rules()
	blocking.Blocked.Jobs = []int64{jobID}
	a.Configure(policy.Compile(blocking))
	wantRule(t, a, as(extra()), authz.RuleBlocked)
}

// Requests of different jobs are judged at once, while the policy changes: each denial names its own job.
func TestAuthorize_ManyAtOnce(t *testing.T) {
	closed := policy.Compile(rules(policy.Restriction{Name: "closed", Require: unmeetable}))
	a := newAuthorizer(registry{job: knownJob()}, rules(policy.Restriction{Name: "closed", Require: unmeetable}))
	var all sync.WaitGroup
	for i := range 8 {
		id := strconv.Itoa(jobID + i) // the first is known here
		all.Go(func() {
			for range 200 {
				denial := a.Decide(t.Context(), as(extra(jobKey, id)))
				if denial == nil || !strings.Contains(denial.Message, "job "+id+" of") {
					t.Errorf("the denial of job %s is %+v", id, denial)
					return
				}
				a.Configure(closed)
			}
		})
	}
	all.Wait()
}

// kubectl asks for discovery first: a denial there would keep the reason of the real request from its reader.
func TestAuthorize_DiscoveryIsLeftToRBAC(t *testing.T) {
	rows := []struct {
		name, verb, path string
		denied           bool
	}{
		{name: "core", verb: "get", path: "/api"},
		{name: "a core version", verb: "get", path: "/api/v1"},
		{name: "groups", verb: "get", path: "/apis"},
		{name: "a group", verb: "get", path: "/apis/apps/v1"},
		{name: "version", verb: "get", path: "/version"},
		{name: "version with a slash", verb: "get", path: "/version/"},
		{name: "schemas", verb: "get", path: "/openapi/v3"},
		{name: "the root of the schemas", verb: "get", path: "/openapi"},
		{name: "another verb", verb: "post", path: "/api", denied: true},
		{name: "health", verb: "get", path: "/readyz", denied: true},
		{name: "metrics", verb: "get", path: "/metrics", denied: true},
		{name: "a name that only begins alike", verb: "get", path: "/apiserver", denied: true},
		{name: "a group's name that only begins alike", verb: "get", path: "/versions/1", denied: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := noOpinion
			if row.denied {
				want = authz.RuleEnded
			}
			for _, values := range []map[string][]string{extra(), grantExtra()} {
				wantRule(t, newAuthorizer(ended, rules()), as(values, nonResource(row.verb, row.path)), want)
			}
		})
	}
	t.Run("a resource", func(t *testing.T) {
		a := newAuthorizer(ended, rules())
		wantRule(t, a, as(extra(), request("get", "prod", "", "pods"), func(r *authorizer.AttributesRecord) { r.Path = "/api/v1" }), authz.RuleEnded)
	})
}
