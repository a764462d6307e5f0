package job_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const accessToken = "glpat-AccessAccessAccess"

// factsWorld has one job, with an environment whose slug is not its name.
func factsWorld(ref gitlabtest.Pipeline) gitlabtest.Instance {
	ref.ID = 501
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{
			ID: 150, Group: 23, Path: "group1/project1",
			Branches: []string{"main", "feature/x"}, ProtectedBranches: []string{"main", "release/*"},
			Tags: []string{"v1", "nightly"}, ProtectedTags: []string{"v*"},
			Environments: []gitlabtest.Environment{{ID: 1, Name: "eu/prod"}},
		}},
		Users:  []gitlabtest.User{{ID: 9, Username: "jdoe", Access: map[int64]int{150: 40}}},
		Agents: []gitlabtest.Agent{{ID: 4, Name: "agent-name", Project: 150}},
		Jobs: []gitlabtest.Job{{
			ID: 1001, Project: 150, User: 9, Status: "running", Pipeline: ref, Environment: "eu/prod",
		}},
		Tokens: []gitlabtest.AccessToken{{Token: accessToken, User: 9, Scopes: []string{"read_api"}}},
	}
}

// newFacts is a registry in front of a fake GitLab.
func newFacts(t *testing.T, s *gitlabtest.Server, accessToken string, needs job.Needs) (*job.Registry, string) {
	t.Helper()
	registry, err := job.NewRegistry(newClient(t, s, accessToken), factSettings(needs), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	w := s.Instance()
	return registry, w.Job(1001).Token
}

func factSettings(needs job.Needs) job.Settings {
	return job.Settings{
		FreshFor: 0, StaleFor: time.Minute, RejectedFor: time.Minute, MaxJobs: 10, MaxRejected: 10, Timeout: 10 * time.Second,
		Agents: []job.ServedAgent{{ID: 4, Needs: needs, FiltersProtectedBranches: true}},
	}
}

func newClient(t *testing.T, s *gitlabtest.Server, accessToken string) *gitlab.Client {
	t.Helper()
	c, err := gitlab.New(gitlab.Options{
		URL: s.URL(), Timeout: 5 * time.Second, MaxInFlight: 8, RequestsPerSecond: 1e4, Burst: 1e4,
		RetryInterval: time.Millisecond, AccessToken: accessToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

var (
	nothing     = job.Needs{}
	name        = job.Needs{EnvironmentName: true}
	protection  = job.Needs{Protection: true}
	both        = job.Needs{EnvironmentName: true, Protection: true}
	onMain      = gitlabtest.Pipeline{Ref: "main"}
	onFeature   = gitlabtest.Pipeline{Ref: "feature/x"}
	onTag       = gitlabtest.Pipeline{Ref: "v1", Kind: "tag"}
	onMerge     = gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request", Source: "merge_request_event"}
	onGone      = gitlabtest.Pipeline{Ref: "deleted"}
	unknownHint = cmpopts.IgnoreFields(job.Facts{}, "EnvironmentUnknown", "ProtectionUnknown")
)

func TestFacts(t *testing.T) {
	noBranches := func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true }
	noEnvironments := func(w *gitlabtest.Instance) { w.Settings.RefusesEnvironmentsToJobTokens = true }
	rows := []struct {
		name        string
		ref         gitlabtest.Pipeline
		change      func(*gitlabtest.Instance)
		accessToken string
		needs       job.Needs
		want        job.Facts
		// wantHints are whether a hint takes the place of the environment's name, and of the protection.
		wantHints [2]bool
		wantCalls int
	}{
		{name: "none are needed, none are asked for", ref: onMain, needs: nothing, wantCalls: 1},
		{name: "name, with the job token", ref: onMain, needs: name, want: job.Facts{EnvironmentName: "eu/prod"}, wantCalls: 2},
		{name: "name, refused to the job token", ref: onMain, change: noEnvironments, needs: name, wantHints: [2]bool{true, false}, wantCalls: 2},
		{name: "name, with the access token", ref: onMain, change: noEnvironments, accessToken: accessToken, needs: name,
			want: job.Facts{EnvironmentName: "eu/prod"}, wantCalls: 3},
		{name: "name, refused to both", ref: onMain, change: noEnvironments, accessToken: "glpat-unknown", needs: name,
			wantHints: [2]bool{true, false}, wantCalls: 3},
		{name: "protected branch, with the job token", ref: onMain, needs: protection, want: job.Facts{Ref: "main", RefProtected: job.Protected}, wantCalls: 3},
		{name: "unprotected branch, with the job token", ref: onFeature, needs: protection, want: job.Facts{Ref: "feature/x", RefProtected: job.Unprotected}, wantCalls: 3},
		{name: "branch, refused to the job token", ref: onMain, change: noBranches, needs: protection, want: job.Facts{Ref: "main"}, wantHints: [2]bool{false, true}, wantCalls: 3},
		{name: "protected branch, with the access token", ref: onMain, change: noBranches, accessToken: accessToken, needs: protection,
			want: job.Facts{Ref: "main", RefProtected: job.Protected}, wantCalls: 3},
		{name: "unprotected branch, with the access token", ref: onFeature, accessToken: accessToken, needs: protection,
			want: job.Facts{Ref: "feature/x", RefProtected: job.Unprotected}, wantCalls: 3},
		{name: "deleted branch", ref: onGone, accessToken: accessToken, needs: protection, want: job.Facts{Ref: "deleted"}, wantHints: [2]bool{false, true}, wantCalls: 3},
		{name: "tag, with the job token alone", ref: onTag, needs: protection, want: job.Facts{Ref: "v1"}, wantHints: [2]bool{false, true}, wantCalls: 2},
		{name: "protected tag, with the access token", ref: onTag, accessToken: accessToken, needs: protection,
			want: job.Facts{Ref: "v1", RefProtected: job.Protected}, wantCalls: 3},
		{name: "unprotected tag, with the access token", ref: gitlabtest.Pipeline{Ref: "nightly", Kind: "tag"}, accessToken: accessToken, needs: protection,
			want: job.Facts{Ref: "nightly", RefProtected: job.Unprotected}, wantCalls: 3},
		{name: "merge request", ref: onMerge, needs: protection,
			want: job.Facts{Ref: "refs/merge-requests/1/head", RefProtected: job.Unprotected}, wantCalls: 2},
		{name: "both", ref: onMain, needs: both, want: job.Facts{EnvironmentName: "eu/prod", Ref: "main", RefProtected: job.Protected}, wantCalls: 4},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := gitlabtest.New(t, factsWorld(row.ref))
			if row.change != nil {
				if err := s.Update(row.change); err != nil {
					t.Fatal(err)
				}
			}
			registry, token := newFacts(t, s, row.accessToken, row.needs)
			var got job.Facts
			for range 2 {
				got = lookup(t, registry, token).Job.Facts
			}
			if diff := cmp.Diff(row.want, got, unknownHint); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			if hints := [2]bool{got.EnvironmentUnknown != "", got.ProtectionUnknown != ""}; hints != row.wantHints {
				t.Errorf("hints are %q and %q", got.EnvironmentUnknown, got.ProtectionUnknown)
			}
			// Twice looked up, for nothing stays fresh here; each fact asked for once.
			if got := s.Calls(gitlabtest.AnyEndpoint); got != row.wantCalls+1 {
				t.Errorf("GitLab was asked %d times in two lookups, want %d", got, row.wantCalls+1)
			}
		})
	}
}

func TestFacts_TroubleIsTriedAgainWithTheNextRefresh(t *testing.T) {
	s := gitlabtest.New(t, factsWorld(onMain))
	registry, token := newFacts(t, s, "", both)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Status: 500}, gitlabtest.Fault{Endpoint: gitlabtest.CurrentJob, Status: 500})
	if got := lookup(t, registry, token).Job.Facts; got != (job.Facts{}) {
		t.Errorf("facts are %+v while GitLab does not tell", got)
	}
	s.ClearFaults()
	want := job.Facts{EnvironmentName: "eu/prod", Ref: "main", RefProtected: job.Protected}
	if diff := cmp.Diff(want, lookup(t, registry, token).Job.Facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestFacts_NewAccessTokenTeachesWhatTheOldCouldNot(t *testing.T) {
	s := gitlabtest.New(t, factsWorld(onTag))
	registry, token := newFacts(t, s, "", protection)
	if got := lookup(t, registry, token).Job.Facts; got.ProtectionUnknown == "" {
		t.Fatalf("facts are %+v", got)
	}
	registry.SetSource(newClient(t, s, accessToken))
	if got := lookup(t, registry, token).Job.Facts; got.RefProtected != job.Protected || got.ProtectionUnknown != "" {
		t.Errorf("facts are %+v with an access token", got)
	}
}

// An agent's own configuration asks for facts, too.
func TestFacts_NeededByCIAccess(t *testing.T) {
	rows := []struct {
		name, entry string
		filters     bool
		want        job.Facts
	}{
		{"wildcard", "environments: ['eu/*']", true, job.Facts{EnvironmentName: "eu/prod"}},
		{"exact name, which GitLab matches exactly", "environments: ['eu/prod']", true, job.Facts{}},
		{"protected branches, which GitLab filters", "protected_branches_only: true", true, job.Facts{}},
		{"protected branches, which GitLab does not filter", "protected_branches_only: true", false, job.Facts{Ref: "main", RefProtected: job.Protected}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := factsWorld(onMain)
			w.Agents[0].Config = "ci_access:\n  projects:\n  - id: group1/project1\n    " + row.entry + "\n"
			s := gitlabtest.New(t, w)
			registry, token := newFacts(t, s, "", nothing)
			settings := factSettings(nothing)
			settings.Agents[0].FiltersProtectedBranches = row.filters
			registry.Configure(settings)
			if diff := cmp.Diff(row.want, lookup(t, registry, token).Job.Facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}
