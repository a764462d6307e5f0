package tokenreview_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

// known is a registry that knows one job.
type known struct{ job *job.Job }

func (k known) Lookup(context.Context, job.Credential) (job.Answer, error) {
	return job.Answer{Job: k.job}, nil
}

// aJob is a job in environment eu/prod on a protected ref, whose agent 4 has this configuration.
func aJob(c job.Configuration) *job.Job {
	return &job.Job{
		ID: 1001, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups:         job.KnownFact([]int64{25, 23}),
		Roles:          job.KnownFact([]string{"guest", "developer"}),
		Environment:    job.Environment{Slug: "eu-prod-lb01nz", Tier: "production", Name: job.KnownFact("eu/prod")},
		Ref:            job.Ref{Name: "main", Type: job.Branch, Protection: job.Protected},
		PipelineSource: job.KnownFact("push"),
		Commit:         "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd",
		URL:            "https://gitlab.example.com/group1/project1/-/jobs/1001",
		Agents:         []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: &c}},
	}
}

// nameless is aJob without what had to be asked for.
func nameless(c job.Configuration) *job.Job {
	j := aJob(c)
	j.Environment.Name, j.Ref, j.PipelineSource = job.Fact[string]{}, job.Ref{}, job.Fact[string]{}
	return j
}

// ofJob are the documented extras of aJob, and more.
func ofJob(more map[string][]string) map[string][]string {
	extra := map[string][]string{
		"agent.gitlab.com/id": {"4"}, "agent.gitlab.com/config_project_id": {"7"}, "agent.gitlab.com/project_id": {"150"},
		"agent.gitlab.com/ci_pipeline_id": {"501"}, "agent.gitlab.com/ci_job_id": {"1001"}, "agent.gitlab.com/username": {"jdoe"},
		"agent.gitlab.com/environment_slug": {"eu-prod-lb01nz"}, "agent.gitlab.com/environment_tier": {"production"},
	}
	for k, v := range more {
		if extra[k] = v; v == nil {
			delete(extra, k)
		}
	}
	return extra
}

func authenticate(t *testing.T, j *job.Job, c tokenreview.Config, credential string) (identity, error) {
	t.Helper()
	response, _, err := tokenreview.New(known{j}, c, decision.NewLog(nil, nil)).AuthenticateToken(t.Context(), credential)
	if err != nil {
		return identity{}, err
	}
	return of(response.User), nil
}

const viaAgent, viaCluster = "ci:4:token", "ci:prod:token"

// A listed job that fails the agent's ci_access has a name, the extras and the reason, and no group for RBAC to grant.
func TestAuthenticateToken_DeniedByCIAccess(t *testing.T) {
	unprotected := func(j *job.Job) { j.Ref.Protection = job.Unprotected }
	unnamed := func(j *job.Job) { j.Environment.Name = job.Fact[string]{} }
	refused := func(j *job.Job) { j.Environment.Name = job.Fact[string]{Why: "no permission", Refused: true} }
	unknownRef := func(j *job.Job) { j.Ref = job.Ref{} }
	rows := []struct {
		name    string
		c       job.Configuration
		change  func(*job.Job)
		filters bool
		denied  bool
	}{
		{name: "no restriction", filters: true},
		{name: "wildcard that matches", c: job.Configuration{Environments: []string{"eu/*"}}, filters: true},
		{name: "wildcard that GitLab matches somewhere inside", c: job.Configuration{Environments: []string{"u/*"}}, filters: true, denied: true},
		{name: "wildcard, while the name is not known", c: job.Configuration{Environments: []string{"u/*"}}, change: unnamed, filters: true, denied: true},
		{name: "wildcard, and GitLab refuses the name: its own match counts", c: job.Configuration{Environments: []string{"u/*"}}, change: refused, filters: true},
		{name: "protected, vouched for by GitLab", c: job.Configuration{ProtectedBranchesOnly: true}, change: unprotected, filters: true},
		{name: "protected, to be known here", c: job.Configuration{ProtectedBranchesOnly: true}},
		{name: "unprotected, to be known here", c: job.Configuration{ProtectedBranchesOnly: true}, change: unprotected, denied: true},
		{name: "not known, to be known here", c: job.Configuration{ProtectedBranchesOnly: true}, change: unknownRef, denied: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.c.AccessAs = job.AsAgent
			j := aJob(row.c)
			if row.change != nil {
				row.change(j)
			}
			got, err := authenticate(t, j, tokenreview.Config{
				Agents: []tokenreview.Agent{{ID: 4}},
				Policy: policy.Compile(policy.Rules{Agents: []policy.Agent{{ID: 4}}, FiltersProtectedBranches: row.filters}),
			}, viaAgent)
			if err != nil {
				t.Fatal(err)
			}
			want := identity{Name: "gitlab:agent:4", Groups: []string{"gitlab:agent"}, Extra: ofJob(nil)}
			if row.denied {
				want = identity{Name: "gitlab:ci_job:1001", Extra: ofJob(map[string][]string{"jobgate.io/denied": got.Extra["jobgate.io/denied"]})}
				if reason := strings.Join(got.Extra["jobgate.io/denied"], ""); !strings.Contains(reason, "agent 4") || !strings.Contains(reason, "job 1001") {
					t.Errorf("the reason %q does not name agent and job", reason)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthenticateToken_ExplainRejections(t *testing.T) {
	j := aJob(job.Configuration{})
	j.Agents = nil
	config := configOf(tokenreview.Agent{ID: 4})
	if _, err := authenticate(t, j, config, viaAgent); err == nil {
		t.Error("by default an unlisted agent is rejected, but there is no error")
	}
	config.ExplainRejections = true
	got, err := authenticate(t, j, config, viaAgent)
	if err != nil {
		t.Fatal(err)
	}
	reason := got.Extra["jobgate.io/denied"]
	want := identity{Name: "gitlab:ci_job:1001", Extra: ofJob(map[string][]string{
		"jobgate.io/denied": reason, "agent.gitlab.com/config_project_id": nil,
	})}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	if len(reason) != 1 || !strings.Contains(reason[0], "use agent 4") {
		t.Errorf("the reason is %q", reason)
	}
}

// Facts travel only where a rule asks for them, or extraFacts does.
func TestAuthenticateToken_FactExtras(t *testing.T) {
	everything := policy.Requirements{
		Environments: policy.Environments{"eu/*"}, ProtectedRef: true, RefTypes: policy.RefTypes{"branch"},
		PipelineSources: policy.PipelineSources{"push"}, Groups: policy.Groups{23}, Roles: policy.Roles{"developer"},
	}
	rows := []struct {
		name  string
		rules policy.Rules
		job   func(job.Configuration) *job.Job
		want  map[string][]string
	}{
		{name: "no rule asks", job: aJob},
		{name: "a restriction asks for all", job: aJob, rules: policy.Rules{Restrictions: []policy.Restriction{{Name: "r", Require: everything}}},
			want: map[string][]string{
				"jobgate.io/environment": {"eu/prod"}, "jobgate.io/ref": {"main"}, "jobgate.io/ref-type": {"branch"},
				"jobgate.io/ref-protected": {"true"}, "jobgate.io/pipeline-source": {"push"},
				"jobgate.io/group": {"25", "23"}, "jobgate.io/role": {"guest", "developer"},
			}},
		{name: "a restriction for another agent asks", job: aJob, rules: policy.Rules{Restrictions: []policy.Restriction{
			{Name: "r", Agents: []int64{5}, Require: everything}}}},
		{name: "what is not known is left out", job: nameless, rules: policy.Rules{Restrictions: []policy.Restriction{{Name: "r", Require: everything}}},
			want: map[string][]string{"jobgate.io/group": {"25", "23"}, "jobgate.io/role": {"guest", "developer"}}},
		{name: "blocked lists ask", job: aJob, rules: policy.Rules{Blocked: policy.Blocked{Groups: []int64{1}, Users: []int64{1}}},
			want: map[string][]string{"jobgate.io/group": {"25", "23"}, "jobgate.io/user-id": {"9"}}},
		{name: "extraFacts", job: aJob, rules: policy.Rules{ExtraFacts: job.FactCommit | job.FactURL},
			want: map[string][]string{
				"jobgate.io/commit":  {"0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"},
				"jobgate.io/job-url": {"https://gitlab.example.com/group1/project1/-/jobs/1001"},
			}},
	}
	for _, row := range rows {
		for name, mode := range map[string]job.Configuration{
			"agent":       {AccessAs: job.AsAgent},
			"ci_job":      {AccessAs: job.AsCIJob},
			"impersonate": {AccessAs: job.AsImpersonated, Impersonate: job.Impersonate{Username: "u"}},
		} {
			t.Run(row.name+", access_as "+name, func(t *testing.T) {
				row.rules.Agents = []policy.Agent{{ID: 4}}
				got, err := authenticate(t, row.job(mode), tokenreview.Config{
					Policy: policy.Compile(row.rules),
					Agents: []tokenreview.Agent{{ID: 4, Impersonate: policy.Impersonate{Users: []string{"u"}}}},
				}, viaAgent)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(ofJob(row.want), got.Extra); diff != "" {
					t.Errorf("extra (-want +got):\n%s", diff)
				}
			})
		}
	}
}
