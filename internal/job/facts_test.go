package job_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const accessToken = "glpat-AccessAccessAccess"

// factsInstance has one job, with an environment whose slug is not its name.
func factsInstance(ref gitlabtest.Pipeline) gitlabtest.Instance {
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

// newFacts is a registry in front of a fake GitLab, and the token of its job.
func newFacts(t *testing.T, s *gitlabtest.Server, accessToken string, needs job.Needs) (*job.Registry, string) {
	t.Helper()
	registry, err := job.NewRegistry(gitlabSources(t, s, accessToken), factSettings(needs), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	i := s.Instance()
	return registry, i.Job(1001).Token
}

// factSettings keep nothing fresh, so that every lookup is a refresh.
func factSettings(needs job.Needs) job.Settings {
	return job.Settings{
		FreshFor: 0, StaleFor: time.Minute, RejectedFor: time.Minute, MaxJobs: 10, MaxRejected: 10, Timeout: 10 * time.Second,
		Needs: func(*job.Job) job.Needs { return needs },
	}
}

func gitlabSources(t *testing.T, s *gitlabtest.Server, accessToken string) job.Sources {
	t.Helper()
	c, err := gitlab.New(gitlab.Options{
		URL: s.URL(), Timeout: 5 * time.Second, MaxInFlight: 8, RequestsPerSecond: 1e4, Burst: 1e4,
		RetryInterval: time.Millisecond, AccessToken: accessToken,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return job.Sources{JobTokens: c, Facts: c, Statuses: c}
}

var (
	nothing    = job.Needs{}
	literal    = job.Needs{Facts: job.FactEnvironment, Environments: []string{"eu/prod", "unlike/it"}}
	wildcard   = job.Needs{Facts: job.FactEnvironment, Environments: []string{"eu/*"}}
	protection = job.Needs{Facts: job.FactRef | job.FactRefProtected}
	both       = literal.Or(protection)

	onMain    = gitlabtest.Pipeline{Ref: "main"}
	onFeature = gitlabtest.Pipeline{Ref: "feature/x"}
	onTag     = gitlabtest.Pipeline{Ref: "v1", Kind: "tag"}
	onMerge   = gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request", Source: "merge_request_event"}
	onGone    = gitlabtest.Pipeline{Ref: "deleted"}
)

// learned is what a test compares: names and protection, and whether a reason is in the place of one.
type learned struct {
	Environment, Ref             string
	Protection                   job.Protection
	EnvironmentWhy, ProtectedWhy bool
}

func learnedOf(j *job.Job) learned {
	return learned{
		Environment: j.Environment.Name.Value, Ref: j.Ref.Name, Protection: j.Ref.Protection,
		EnvironmentWhy: j.Environment.Name.Why != "", ProtectedWhy: j.Ref.ProtectionWhy != "",
	}
}

func TestFacts(t *testing.T) {
	noBranches := func(i *gitlabtest.Instance) { i.Settings.RefusesBranchesToJobTokens = true }
	noEnvironments := func(i *gitlabtest.Instance) { i.Settings.RefusesEnvironmentsToJobTokens = true }
	protectedMain := learned{Ref: "main", Protection: job.Protected}
	rows := []struct {
		name        string
		ref         gitlabtest.Pipeline
		change      func(*gitlabtest.Instance)
		accessToken string
		needs       job.Needs
		want        learned
		wantCalls   int // of the first lookup; the second asks only who the job is
	}{
		{name: "none are needed, none are asked for", ref: onMain, needs: nothing, wantCalls: 1},
		{name: "a literal name costs one call, and one that the slug disproves none", ref: onMain, needs: literal,
			want: learned{Environment: "eu/prod"}, wantCalls: 2},
		{name: "a wildcard", ref: onMain, needs: wildcard, want: learned{Environment: "eu/prod"}, wantCalls: 2},
		{name: "name, refused to the job token", ref: onMain, change: noEnvironments, needs: literal,
			want: learned{EnvironmentWhy: true}, wantCalls: 2},
		{name: "name, with the access token", ref: onMain, change: noEnvironments, accessToken: accessToken, needs: literal,
			want: learned{Environment: "eu/prod"}, wantCalls: 3},
		{name: "name, refused to both", ref: onMain, change: noEnvironments, accessToken: "glpat-unknown", needs: literal,
			want: learned{EnvironmentWhy: true}, wantCalls: 3},
		{name: "protected branch, with the job token", ref: onMain, needs: protection, want: protectedMain, wantCalls: 3},
		{name: "unprotected branch, with the job token", ref: onFeature, needs: protection,
			want: learned{Ref: "feature/x", Protection: job.Unprotected}, wantCalls: 3},
		{name: "branch, refused to the job token", ref: onMain, change: noBranches, needs: protection,
			want: learned{Ref: "main", ProtectedWhy: true}, wantCalls: 3},
		{name: "protected branch, with the access token", ref: onMain, change: noBranches, accessToken: accessToken,
			needs: protection, want: protectedMain, wantCalls: 3},
		{name: "deleted branch", ref: onGone, accessToken: accessToken, needs: protection,
			want: learned{Ref: "deleted", ProtectedWhy: true}, wantCalls: 3},
		{name: "protected tag, with the access token", ref: onTag, accessToken: accessToken, needs: protection,
			want: learned{Ref: "v1", Protection: job.Protected}, wantCalls: 3},
		{name: "merge request", ref: onMerge, needs: protection,
			want: learned{Ref: "refs/merge-requests/1/head", Protection: job.Unprotected}, wantCalls: 2},
		{name: "both", ref: onMain, needs: both, wantCalls: 4,
			want: learned{Environment: "eu/prod", Ref: "main", Protection: job.Protected}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := gitlabtest.New(t, factsInstance(row.ref))
			if row.change != nil {
				if err := s.Update(row.change); err != nil {
					t.Fatal(err)
				}
			}
			registry, token := newFacts(t, s, row.accessToken, row.needs)
			var got learned
			for range 2 {
				got = learnedOf(lookup(t, registry, token).Job)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != row.wantCalls+1 {
				t.Errorf("GitLab was asked %d times in two lookups, want %d", got, row.wantCalls+1)
			}
		})
	}
}

func TestFacts_ComeWithOneQuestion(t *testing.T) {
	s := gitlabtest.New(t, factsInstance(onTag))
	needs := job.Needs{Facts: job.FactRefType | job.FactPipelineSource | job.FactCommit | job.FactURL}
	registry, token := newFacts(t, s, "", needs)
	j := lookup(t, registry, token).Job
	if j.Ref.Type != job.Tag || j.PipelineSource != job.KnownFact("push") || len(j.Commit) != 40 ||
		!strings.HasSuffix(j.URL, "/group1/project1/-/jobs/1001") {
		t.Errorf("type %q, source %+v, commit %q, page %q", j.Ref.Type, j.PipelineSource, j.Commit, j.URL)
	}
	if got := s.Calls(gitlabtest.AnyEndpoint); got != 2 {
		t.Errorf("GitLab was asked %d times, want 2", got)
	}
}

// scripted teaches facts, or answers with an error while it has one.
type scripted struct {
	job.FactSource
	err error
}

func (s *scripted) Details(context.Context, string, *job.Job) (job.Details, error) {
	return job.Details{Ref: job.Ref{Name: "main", Type: job.Branch}, PipelineSource: "push"}, s.err
}

func (s *scripted) RefProtected(context.Context, string, *job.Job) (bool, error) { return true, s.err }

func (s *scripted) EnvironmentNamed(_ context.Context, _ string, _ *job.Job, name string) (bool, error) {
	return name == "eu/prod", s.err
}

func TestFacts_TroubleIsTriedAgainWithTheNextRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		facts := &scripted{err: &job.UnavailableError{Err: errTrouble}}
		s := &source{FactSource: facts, answer: func(string) (*job.Job, error) {
			j := reply(1)
			j.Environment = job.Environment{Slug: "eu-prod-lb01nz", Tier: "production"}
			return j, nil
		}}
		settings := defaults
		settings.Needs = func(*job.Job) job.Needs { return both }
		r := newRegistry(t, s, settings)
		if got := learnedOf(lookup(t, r, "token").Job); got != (learned{}) {
			t.Errorf("facts are %+v while GitLab does not tell", got)
		}
		facts.err = nil
		time.Sleep(10 * time.Second)
		want := learned{Environment: "eu/prod", Ref: "main", Protection: job.Protected}
		if diff := cmp.Diff(want, learnedOf(lookup(t, r, "token").Job)); diff != "" {
			t.Errorf("facts (-want +got):\n%s", diff)
		}
	})
}

func TestFacts_NewAccessTokenTeachesWhatTheOldCouldNot(t *testing.T) {
	i := factsInstance(onMain)
	i.Settings.RefusesBranchesToJobTokens = true
	s := gitlabtest.New(t, i)
	registry, token := newFacts(t, s, "", protection)
	if got := learnedOf(lookup(t, registry, token).Job); !got.ProtectedWhy {
		t.Fatalf("facts are %+v", got)
	}
	registry.Configure(gitlabSources(t, s, accessToken), factSettings(protection))
	if got := learnedOf(lookup(t, registry, token).Job); got != (learned{Ref: "main", Protection: job.Protected}) {
		t.Errorf("facts are %+v with an access token", got)
	}
}

// panicking is a source of facts with a bug.
type panicking struct{ job.FactSource }

func (panicking) Details(context.Context, string, *job.Job) (job.Details, error) { panic("secret") }

func (panicking) EnvironmentNamed(context.Context, string, *job.Job, string) (bool, error) {
	panic("secret")
}

// A bug in what teaches facts costs the facts, and not the process.
func TestFacts_PanicLeavesThemUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{FactSource: panicking{}, answer: func(string) (*job.Job, error) {
			j := reply(1)
			j.Environment = job.Environment{Slug: "eu-prod-lb01nz", Tier: "production"}
			return j, nil
		}}
		settings := defaults
		settings.Needs = func(*job.Job) job.Needs { return both }
		r := newRegistry(t, s, settings)
		if got := learnedOf(lookup(t, r, "token").Job); got != (learned{}) {
			t.Errorf("facts are %+v", got)
		}
	})
}

func TestMayMatch(t *testing.T) {
	e := job.Environment{Slug: "production", Tier: "production", NotMatching: []string{"prod/*"}}
	rows := []struct {
		pattern string
		want    bool
	}{
		{pattern: "production", want: true},
		{pattern: "production-", want: true},
		{pattern: "Production", want: true},
		{pattern: "staging", want: false},
		{pattern: "prod", want: true}, // its slug begins like this one's
		{pattern: "productions", want: false},
		{pattern: "*", want: false}, // needs no name
		{pattern: "p*", want: true},
		{pattern: "prod/*", want: false}, // known not to match
		{pattern: " ", want: false},
	}
	for _, row := range rows {
		if got := e.MayMatch(row.pattern); got != row.want {
			t.Errorf("%q may match: %t, want %t", row.pattern, got, row.want)
		}
	}
}

// An environment of that name has that slug, whichever the release, or one that begins so.
func FuzzMayMatch_NeverDisprovesTheName(f *testing.F) {
	for _, name := range []string{"production", "eu/prod", "1-foo", "Größe", "--", strings.Repeat("a", 30)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.Contains(name, "*") || strings.TrimSpace(name) == "" {
			return
		}
		e := job.Environment{Slug: job.Slug(name), Tier: "other"}
		if !e.MayMatch(name) {
			t.Errorf("the slug %q disproves its own name %q", e.Slug, name)
		}
	})
}

var errTrouble = errors.New("answered 503")
