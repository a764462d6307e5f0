package tokenreview_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// known is a registry that knows one job.
type known struct{ job *job.Job }

func (k known) Lookup(context.Context, string, time.Time) (job.Answer, error) {
	return job.Answer{Job: k.job}, nil
}

// aJob is a job in environment eu/prod on a protected ref, whose agent 4 has this configuration.
func aJob(c gitlab.Configuration, facts job.Facts) *job.Job {
	return &job.Job{
		ID: 1001, PipelineID: 501, ProjectID: 150, GroupIDs: []int64{25, 23}, UserID: 9, Username: "jdoe",
		Roles:       []string{"guest", "developer"},
		Environment: &gitlab.Environment{Slug: "eu-prod-lb01nz", Tier: "production"},
		Agents:      []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: c}},
		Facts:       facts,
	}
}

var learnt = job.Facts{EnvironmentName: "eu/prod", Ref: "main", RefProtected: job.Protected}

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

func authenticate(t *testing.T, j *job.Job, c tokenreview.Config) (identity, error) {
	t.Helper()
	response, _, err := tokenreview.New(known{j}, c).AuthenticateToken(t.Context(), "ci:4:token")
	if err != nil {
		return identity{}, err
	}
	return of(response.User), nil
}

// A listed job that fails the agent's ci_access has a name, the extras and the reason, and no group for RBAC to grant.
func TestAuthenticateToken_DeniedByCIAccess(t *testing.T) {
	rows := []struct {
		name    string
		c       gitlab.Configuration
		facts   job.Facts
		filters bool
		denied  bool
	}{
		{"no restriction", gitlab.Configuration{}, learnt, true, false},
		{"wildcard that matches", gitlab.Configuration{Environments: []string{"eu/*"}}, learnt, true, false},
		{"wildcard that GitLab matches somewhere inside", gitlab.Configuration{Environments: []string{"u/*"}}, learnt, true, true},
		{"wildcard, and the name is not known: GitLab's word stands", gitlab.Configuration{Environments: []string{"u/*"}}, job.Facts{}, true, false},
		{"protected, vouched for by GitLab", gitlab.Configuration{ProtectedBranchesOnly: true}, job.Facts{RefProtected: job.Unprotected}, true, false},
		{"protected, to be known here", gitlab.Configuration{ProtectedBranchesOnly: true}, learnt, false, false},
		{"unprotected, to be known here", gitlab.Configuration{ProtectedBranchesOnly: true}, job.Facts{Ref: "x", RefProtected: job.Unprotected}, false, true},
		{"not known, to be known here", gitlab.Configuration{ProtectedBranchesOnly: true}, job.Facts{}, false, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.c.AccessAs = gitlab.AsAgent
			got, err := authenticate(t, aJob(row.c, row.facts), tokenreview.Config{
				Agents: []tokenreview.Agent{{ID: 4}}, FiltersProtectedBranches: row.filters,
			})
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
	j := aJob(gitlab.Configuration{}, learnt)
	j.Agents = nil
	if _, err := authenticate(t, j, tokenreview.Config{Agents: []tokenreview.Agent{{ID: 4}}}); err == nil {
		t.Error("by default an unlisted agent is rejected, but there is no error")
	}
	got, err := authenticate(t, j, tokenreview.Config{Agents: []tokenreview.Agent{{ID: 4}}, ExplainRejections: true})
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

func TestAuthenticateToken_FactExtras(t *testing.T) {
	rows := []struct {
		name  string
		asked tokenreview.FactExtras
		facts job.Facts
		want  map[string][]string
	}{
		{"none are asked for", tokenreview.FactExtras{}, learnt, nil},
		{"all", tokenreview.FactExtras{Environment: true, Ref: true, Groups: true, Roles: true}, learnt, map[string][]string{
			"jobgate.io/environment": {"eu/prod"}, "jobgate.io/ref": {"main"}, "jobgate.io/ref-protected": {"true"},
			"jobgate.io/group": {"25", "23"}, "jobgate.io/role": {"guest", "developer"},
		}},
		{"unprotected", tokenreview.FactExtras{Ref: true}, job.Facts{Ref: "x", RefProtected: job.Unprotected}, map[string][]string{
			"jobgate.io/ref": {"x"}, "jobgate.io/ref-protected": {"false"},
		}},
		{"what is not known is left out", tokenreview.FactExtras{Environment: true, Ref: true}, job.Facts{Ref: "x"}, map[string][]string{
			"jobgate.io/ref": {"x"},
		}},
	}
	for _, row := range rows {
		for name, mode := range map[string]gitlab.Configuration{
			"agent":       {AccessAs: gitlab.AsAgent},
			"ci_job":      {AccessAs: gitlab.AsCIJob},
			"impersonate": {AccessAs: gitlab.AsImpersonated, Impersonate: gitlab.Impersonate{Username: "u"}},
		} {
			t.Run(row.name+", access_as "+name, func(t *testing.T) {
				got, err := authenticate(t, aJob(mode, row.facts), tokenreview.Config{Agents: []tokenreview.Agent{{
					ID: 4, FactExtras: row.asked, Impersonate: tokenreview.Allowed{Users: []string{"u"}},
				}}})
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
