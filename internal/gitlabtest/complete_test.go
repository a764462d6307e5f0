package gitlabtest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestInstance_FillsInSlugs(t *testing.T) {
	tests := []struct{ name, slug string }{
		{"production", "production"},
		{"prod", "prod"},
		{"Production", "production-iis43c"},
		{"review/fix-foo", "review-fix-foo-v25cyx"},
		{"review/feature-1", "review-feature-1-1q251u"},
		{"1-foo", "env-1-foo-1k46wz"},
		{"eu/prod", "eu-prod-lb01nz"},
		{"prod_eu", "prod-eu-vbpl9e"},
		{"foo--bar", "foo-bar-q006cp"},
		{strings.Repeat("a", 24), strings.Repeat("a", 24)},
		{strings.Repeat("a", 25), "aaaaaaaaaaaaaaaaa-1n7uof"},
		{"prod-", "prod"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example("")
			w.Projects[0].Environments = []gitlabtest.Environment{{Name: test.name}}
			instance := startInstance(t, w).Instance()
			if got := instance.Projects[0].Environments[0].Slug; got != test.slug {
				t.Errorf("slug %s, want %s", got, test.slug)
			}
		})
	}
}

func TestInstance_FillsInTiers(t *testing.T) {
	tests := map[string]string{
		"production": "production", "PROD": "production", "live": "production", "prd": "production",
		"staging": "staging", "stg": "staging", "preprod": "staging", "demo": "staging", "non-live": "staging",
		"test": "testing", "qa": "testing", "acceptance": "testing", "integration": "testing",
		"dev": "development", "review/x": "development", "trunk": "development",
		"eu": "other",
	}
	for name, tier := range tests {
		t.Run(name, func(t *testing.T) {
			w := example("")
			w.Projects[0].Environments = []gitlabtest.Environment{{Name: name}}
			instance := startInstance(t, w).Instance()
			if got := instance.Projects[0].Environments[0].Tier; got != tier {
				t.Errorf("tier %s, want %s", got, tier)
			}
		})
	}
}

func TestInstance_FillsInTokensByFormat(t *testing.T) {
	tests := []struct {
		name, release, format, prefix string
		want                          *regexp.Regexp
	}{
		{"by default from 19.0", "19.0", "", "", regexp.MustCompile(`^glcbt-eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{342}$`)},
		{"by default before 19.0", "18.11", "", "", regexp.MustCompile(`^glcbt-64_[A-Za-z0-9_-]{20}$`)},
		{"database", "", "database", "", regexp.MustCompile(`^glcbt-64_[A-Za-z0-9_-]{20}$`)},
		{"database, with an instance prefix", "", "database", "acme", regexp.MustCompile(`^glcbt-64_[A-Za-z0-9_-]{20}$`)},
		{"legacy", "", "legacy", "", regexp.MustCompile(`^[A-Za-z0-9_-]{20}$`)},
		{"partition", "", "partition", "", regexp.MustCompile(`^64_[A-Za-z0-9_-]{20}$`)},
		{"jwt", "", "jwt", "", regexp.MustCompile(`^glcbt-eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{342}$`)},
		{"jwt, with an instance prefix", "", "jwt", "acme",
			regexp.MustCompile(`^acme-glcbt-eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{342}$`)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example("")
			w.Jobs[0].TokenFormat = test.format
			w.Settings.InstanceTokenPrefix, w.Settings.Release = test.prefix, test.release
			g := startInstance(t, w)
			token := g.token(job)
			if !test.want.MatchString(token) {
				t.Errorf("the token does not match %s", test.want)
			}
			g.mustUpdate(func(w *gitlabtest.Instance) { w.Job(job).Name = "other" })
			if g.token(job) != token {
				t.Error("an update has changed the token")
			}
			g.mustUpdate(func(w *gitlabtest.Instance) { w.Job(job).Token = "" })
			if g.token(job) == token {
				t.Error("an emptied token was not made again")
			}
		})
	}
}

func TestInstance_FillsInIDsAndDefaults(t *testing.T) {
	w := example("")
	w.Jobs[0].Pipeline = gitlabtest.Pipeline{}
	w.Projects[0].Environments = []gitlabtest.Environment{{Name: "a"}, {ID: 30, Name: "b"}}
	w.Projects = append(w.Projects,
		gitlabtest.Project{ID: 201, Path: "joe/one"},
		gitlabtest.Project{ID: 202, Path: "Joe/two"},
		gitlabtest.Project{ID: 203, Path: "ann/one", UserNamespace: 77},
		gitlabtest.Project{ID: 204, Path: "ann/two"},
	)
	got := startInstance(t, w).Instance()
	if diff := cmp.Diff(gitlabtest.Pipeline{ID: job, Ref: "main"}, got.Job(job).Pipeline); diff != "" {
		t.Error(diff)
	}
	want := []gitlabtest.Environment{
		{ID: 31, Name: "a", Slug: "a", Tier: "other", State: "available"},
		{ID: 30, Name: "b", Slug: "b", Tier: "other", State: "available"},
	}
	if diff := cmp.Diff(want, got.Project(project).Environments); diff != "" {
		t.Error(diff)
	}
	joe := got.Project(201).UserNamespace
	if joe == 0 || joe == 77 || got.Project(202).UserNamespace != joe {
		t.Errorf("namespaces of joe: %d and %d", joe, got.Project(202).UserNamespace)
	}
	if got.Project(204).UserNamespace != 77 {
		t.Errorf("namespace of ann: %d", got.Project(204).UserNamespace)
	}
}

func TestUpdate_RefusesWhatNoGitLabHolds(t *testing.T) {
	tests := []struct {
		name   string
		change func(*gitlabtest.Instance)
	}{
		{"a job of an unknown project", func(w *gitlabtest.Instance) { w.Jobs[0].Project = 1 }},
		{"a job of an unknown user", func(w *gitlabtest.Instance) { w.Jobs[0].User = 1 }},
		{"a job without id", func(w *gitlabtest.Instance) { w.Jobs[0].ID = 0 }},
		{"a job with a negative pipeline", func(w *gitlabtest.Instance) { w.Jobs[0].Pipeline.ID = -1 }},
		{"an unknown status", func(w *gitlabtest.Instance) { w.Jobs[0].Status = "walking" }},
		{"no status", func(w *gitlabtest.Instance) { w.Jobs[0].Status = "" }},
		{"an unknown token format", func(w *gitlabtest.Instance) { w.Jobs[0].TokenFormat = "JWT" }},
		{"an unknown pipeline kind", func(w *gitlabtest.Instance) { w.Jobs[0].Pipeline.Kind = "mr" }},
		{"two jobs with one id", func(w *gitlabtest.Instance) { w.Jobs = append(w.Jobs, w.Jobs[0]) }},
		{"two jobs with one token", func(w *gitlabtest.Instance) {
			w.Jobs = append(w.Jobs, w.Jobs[0])
			w.Jobs[1].ID = 2
		}},
		{"a project of an unknown group", func(w *gitlabtest.Instance) { w.Projects[0].Group = 1 }},
		{"a project of a group and a user", func(w *gitlabtest.Instance) { w.Projects[0].UserNamespace = 1 }},
		{"a project without path", func(w *gitlabtest.Instance) { w.Projects[0].Path = "" }},
		{"two projects with one path", func(w *gitlabtest.Instance) { w.Projects[1].Path = "Group1/group1-1/project1" }},
		{"two projects with one id", func(w *gitlabtest.Instance) { w.Projects[1].ID = project }},
		{"an environment without name", func(w *gitlabtest.Instance) { w.Projects[0].Environments[0].Name = "" }},
		{"two environments with one name", func(w *gitlabtest.Instance) { w.Projects[0].Environments[1].Name = "prod" }},
		{"an unknown environment state", func(w *gitlabtest.Instance) { w.Projects[0].Environments[0].State = "gone" }},
		{"a group of an unknown group", func(w *gitlabtest.Instance) { w.Groups[1].Parent = 1 }},
		{"a circle of groups", func(w *gitlabtest.Instance) { w.Groups[0].Parent = nestedGroup }},
		{"two groups with one id", func(w *gitlabtest.Instance) { w.Groups[0].ID = nestedGroup }},
		{"two groups with one path", func(w *gitlabtest.Instance) { w.Groups[1].Path = "GROUP1" }},
		{"access to an unknown project", func(w *gitlabtest.Instance) { w.Users[0].Access[1] = 30 }},
		{"a user without name", func(w *gitlabtest.Instance) { w.Users[0].Username = "" }},
		{"a user without id", func(w *gitlabtest.Instance) { w.Users[0].ID = 0 }},
		{"an agent of an unknown project", func(w *gitlabtest.Instance) { w.Agents[0].Project = 1 }},
		{"an agent without name", func(w *gitlabtest.Instance) { w.Agents[0].Name = "" }},
		{"two agents with one name in a project", func(w *gitlabtest.Instance) {
			w.Agents = append(w.Agents, gitlabtest.Agent{ID: 1, Name: "prod-agent", Project: agentProject})
		}},
		{"two agents with one id", func(w *gitlabtest.Instance) {
			w.Agents = append(w.Agents, gitlabtest.Agent{ID: agent, Name: "other", Project: agentProject})
		}},
		{"an access token of an unknown user", func(w *gitlabtest.Instance) { w.Tokens[0].User = 1 }},
		{"an empty access token", func(w *gitlabtest.Instance) { w.Tokens[0].Token = "" }},
		{"two equal access tokens", func(w *gitlabtest.Instance) { w.Tokens = append(w.Tokens, w.Tokens[0]) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := startInstance(t, example(openToProject))
			before := g.Instance()
			if err := g.Update(test.change); err == nil {
				t.Error("the update was accepted")
			}
			if diff := cmp.Diff(before, g.Instance()); diff != "" {
				t.Errorf("the refused update has changed the instance: %s", diff)
			}
			w := example(openToProject)
			w.Jobs[0].Token = "glcbt-64_given" // so that two jobs can have it
			test.change(&w)
			if s, err := gitlabtest.Start(gitlabtest.Options{Instance: w}); err == nil {
				s.Close()
				t.Error("a server started with it")
			}
		})
	}
}

func TestUpdate_RefusesAnExpiryThatTheTokenDoesNotCarry(t *testing.T) {
	w := example(openToProject)
	w.Jobs[0].TokenFormat = "jwt"
	g := startInstance(t, w)
	before := g.Instance()
	ended := before.Job(job).TokenExpires.Add(-2 * defaultLifetime)
	if err := g.Update(func(w *gitlabtest.Instance) { w.Job(job).TokenExpires = ended }); err == nil {
		t.Error("the update was accepted")
	}
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Job(job).TokenExpires, w.Job(job).Token = ended, "" })
	if got := g.getAs(job, lookup); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d with an expired token", got.StatusCode)
	}
}
