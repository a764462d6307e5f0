package e2e_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// What GitLab does not list is an ordinary 401. What it lists for its unanchored wildcards alone is a 403 with jobgate's
// reason.
func TestEnvironments_AdmitTheJobsOfTheListAlone(t *testing.T) {
	tests := []struct {
		name        string
		agent       int64
		environment string // empty: none
		want        outcome
	}{
		{"no list: an environment", openAgent, "staging", isAllowed},
		{"no list: no environment", openAgent, "", isAllowed},
		{"a name: the environment", stagingAgent, "staging", isAllowed},
		{"a name: another environment", stagingAgent, "production", isUnauthorized},
		{"a name: no environment", stagingAgent, "", isUnauthorized},
		{"review/*: review/1", reviewAgent, "review/1", isAllowed},
		{"review/*: my-review/1", reviewAgent, "my-review/1",
			`it is for environments "review/*", and the job's `},
		{"review/*: another environment", reviewAgent, "staging", isUnauthorized},
		{"review/*: no environment", reviewAgent, "", isUnauthorized},
		{"*: an environment", anyEnvAgent, "staging", isAllowed},
		{"*: no environment", anyEnvAgent, "", isUnauthorized},
		{"prod*: prod", prodAgent, "prod", isAllowed},
		{"prod*: production", prodAgent, "production", isAllowed},
		{"prod*: preprod", prodAgent, "preprod", `it is for environments "prod*", and the job's `},
		{"a blank and a name: the environment", blankAgent, "staging", isAllowed},
		{"a blank and a name: another environment", blankAgent, "production", isUnauthorized},
		{"a blank and a name: no environment", blankAgent, "", isUnauthorized},
		{"a blank alone: an environment", onlyBlankAgent, "staging", isUnauthorized},
		{"a blank alone: no environment", onlyBlankAgent, "", isUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, test.agent, gitlabtest.Job{Environment: test.environment})
			test.want.of(t, j.Workspace, probe)
		})
	}
}

func TestEnvironments_ExampleOfGitLabsPage(t *testing.T) {
	tests := []struct {
		name        string
		project     int64
		environment string
		want        outcome
	}{
		{"project-1, no environment", projectOne, "", isAllowed},
		{"project-1, any environment", projectOne, "production", isAllowed},
		{"project-2, staging", projectTwo, "staging", isAllowed},
		{"project-2, review/1", projectTwo, "review/1", isAllowed},
		{"project-2, my-review/1", projectTwo, "my-review/1",
			`it is for environments "staging", "review/*", and the job's`},
		{"project-2, production", projectTwo, "production", isUnauthorized},
		{"project-2, no environment", projectTwo, "", isUnauthorized},
		{"a project of group-1, production", projectOfGroupOne, "production", isAllowed},
		{"a project of group-1, staging", projectOfGroupOne, "staging", isUnauthorized},
		{"a project that is not in the example", shopProject, "staging", isUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, pageAgent, gitlabtest.Job{Project: test.project, Environment: test.environment})
			test.want.of(t, j.Workspace, probe)
		})
	}
}

// Of several entries for a project the most specific counts, even where it is the more generous one.
func TestProtectedBranches_ExampleOfGitLabsPage(t *testing.T) {
	tests := []struct {
		name        string
		project     int64
		environment string
		ref         string
		want        outcome
	}{
		{"my-project, protected branch", myProject, "dev", "main", isAllowed},
		{"my-project, unprotected branch", myProject, "dev", "feature", isAllowed},
		{"my-project, another environment", myProject, "staging", "main", isUnauthorized},
		{"another project of the group, protected branch", exampleNeighbour, "dev", "main", isAllowed},
		{"another project of the group, unprotected branch", exampleNeighbour, "dev", "feature", isUnauthorized},
		{"another project of the group, another environment", exampleNeighbour, "staging", "main", isUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, myAgent, gitlabtest.Job{
				Project: test.project, Environment: test.environment, Pipeline: gitlabtest.Pipeline{Ref: test.ref},
			})
			test.want.of(t, j.Workspace, probe)
		})
	}
}

// The pipelines of the tests about protection.
var (
	onMain      = gitlabtest.Pipeline{Ref: "main"}
	onFeature   = gitlabtest.Pipeline{Ref: "feature"}
	onTag       = gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"}
	onNightly   = gitlabtest.Pipeline{Ref: "nightly", Kind: "tag"}
	onMerge     = gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"}
	onMainMerge = gitlabtest.Pipeline{Ref: "main", Source: "merge_request_event"} // as older releases have it
)

// oldGitLab lists agents whatever protected_branches_only says, and jobgate is told so.
func oldGitLab(t *testing.T) {
	t.Helper()
	withSettings(t, func(s *gitlabtest.Settings) { s.IgnoresProtectedBranches = true })
	reconfigure(t, func(c *config.Configuration) { c.GitLab.FiltersProtectedBranches = false })
}

// withAccessToken gives jobgate an access token.
func withAccessToken(t *testing.T, token string) {
	t.Helper()
	reconfigure(t, func(c *config.Configuration) { c.GitLab.TokenFile = secretFile(t, token) })
}

func refuseBranches(t *testing.T) {
	t.Helper()
	withSettings(t, func(s *gitlabtest.Settings) { s.RefusesBranchesToJobTokens = true })
}

func TestProtectedBranches_AdmitJobsOnProtectedRefsAlone(t *testing.T) {
	const (
		unprotected = `it has protected_branches_only, and the job's ref "feature" is not protected`
		unknown     = `is protected is not known: `
	)
	type row struct {
		name     string
		pipeline gitlabtest.Pipeline
		want     outcome
	}
	tests := []struct {
		name    string
		arrange []func(*testing.T)
		rows    []row
	}{
		{"GitLab filters", nil, []row{
			{"protected branch", onMain, isAllowed},
			{"unprotected branch", onFeature, isUnauthorized},
			{"protected tag", onTag, isAllowed},
			{"unprotected tag", onNightly, isUnauthorized},
			{"merge request", onMerge, isUnauthorized},
		}},
		{"GitLab does not filter, job tokens read branches and tags", []func(*testing.T){oldGitLab}, []row{
			{"protected branch", onMain, isAllowed},
			{"unprotected branch", onFeature, unprotected},
			{"protected tag", onTag, isAllowed},
			{"unprotected tag", onNightly, `ref "nightly" is not protected`},
			{"merge request", onMerge, "a merge request's pipeline, which never counts as protected"},
			{"merge request under its target's name", onMainMerge, "a merge request's pipeline, which never counts as protected"},
		}},
		{"GitLab does not filter, job tokens read neither", []func(*testing.T){oldGitLab, refuseBranches}, []row{
			{"protected branch", onMain, unknown + "the job token may not read the project's branches"},
			{"unprotected branch", onFeature, unknown + "the job token may not read the project's branches"},
			{"protected tag", onTag, unknown + "the job token may not read the project's tags"},
		}},
		{"GitLab does not filter, access token", []func(*testing.T){
			oldGitLab, refuseBranches, func(t *testing.T) { withAccessToken(t, readerToken) },
		}, []row{
			{"protected branch", onMain, isAllowed},
			{"unprotected branch", onFeature, unprotected},
			{"protected tag", onTag, isAllowed},
			{"unprotected tag", onNightly, `ref "nightly" is not protected`},
			{"merge request", onMerge, "a merge request's pipeline, which never counts as protected"},
		}},
		{"GitLab does not filter, access token of a user who may not read the project", []func(*testing.T){
			oldGitLab, refuseBranches, func(t *testing.T) { withAccessToken(t, strangerToken) },
		}, []row{
			{"protected branch", onMain, unknown + "jobgate's access token (gitlab.tokenFile) may not read the project"},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, arrange := range test.arrange {
				arrange(t)
			}
			for _, row := range test.rows {
				t.Run(row.name, func(t *testing.T) {
					j := presenting(t, protectedAgent, gitlabtest.Job{Pipeline: row.pipeline})
					row.want.of(t, j.Workspace, probe)
				})
			}
		})
	}
}

func TestProtectedBranches_TogetherWithEnvironments(t *testing.T) {
	tests := []struct {
		name        string
		environment string
		pipeline    gitlabtest.Pipeline
		want        outcome
	}{
		{"both", "production", onMain, isAllowed},
		{"another environment", "staging", onMain, isUnauthorized},
		{"unprotected branch", "production", onFeature, isUnauthorized},
		{"no environment", "", onMain, isUnauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, protectedEnvAgent, gitlabtest.Job{Environment: test.environment, Pipeline: test.pipeline})
			test.want.of(t, j.Workspace, probe)
		})
	}
}

// A branch loses its protection while a job runs. A GitLab that filters judges it again each time. What jobgate has learnt
// itself stays with the job.
func TestProtectedBranches_UnprotectedWhileTheJobRuns(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(*testing.T)
		want    outcome
	}{
		{"GitLab filters", func(*testing.T) {}, "GitLab no longer lets"},
		{"GitLab does not filter", oldGitLab, isAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.arrange(t)
			quick(t)
			j := presentingTo(t, lasting(t), protectedAgent, gitlabtest.Job{Pipeline: onMain})
			isAllowed.of(t, j.Workspace, probe)
			protect := func(branches ...string) {
				updateGitLab(t, func(w *gitlabtest.Instance) { shopOf(w).ProtectedBranches = branches })
			}
			protect()
			defer protect("main")
			afterAnotherLookup(t, j)
			eventually.Succeeds(t, func() error { return test.want.check(t, j.Workspace, probe) })
		})
	}
}
