package gitlab_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

// in is the fixture's job in an environment of that slug.
func in(slug string) *job.Job {
	j := identified()
	j.Environment = job.Environment{Slug: slug, Tier: "other"}
	return j
}

// withEnvironments serves the fixture with these environments in its project.
func withEnvironments(t *testing.T, all []gitlabtest.Environment) (s *gitlabtest.Server, token string) {
	t.Helper()
	return start(t, func(i *gitlabtest.Instance) { i.Project(150).Environments = all })
}

// slugs are those of the project's environments, in order.
func slugs(s *gitlabtest.Server) []string {
	i := s.Instance()
	var all []string
	for _, e := range i.Project(150).Environments {
		all = append(all, e.Slug)
	}
	return all
}

func TestEnvironmentNamed_OnlyTheNameProvesTheName(t *testing.T) {
	all := []gitlabtest.Environment{
		{Name: "production-", Slug: "production"}, {Name: "eu/prod"}, {Name: "old", Slug: "eu-prod"},
		{Name: "stopped", State: "stopped"}, {Name: strings.Repeat("é", 100), Slug: "accents"},
	}
	rows := []struct {
		name, slug, asked string
		want              bool
	}{
		{name: "its name", slug: "eu-prod-lb01nz", asked: "eu/prod", want: true},
		{name: "another case", slug: "eu-prod-lb01nz", asked: "EU/prod", want: false},
		{name: "another environment's name", slug: "production", asked: "eu/prod", want: false},
		{name: "a name that makes the same slug", slug: "production", asked: "production", want: false},
		{name: "the name behind that slug", slug: "production", asked: "production-", want: true},
		{name: "an older slug", slug: "eu-prod", asked: "old", want: true},
		{name: "stopped", slug: "stopped", asked: "stopped", want: true},
		{name: "not ASCII", slug: "accents", asked: strings.Repeat("é", 100), want: true},
		{name: "no such environment", slug: "staging", asked: "staging", want: false},
		{name: "the beginning of a name", slug: "stopped", asked: "stop", want: false},
		{name: "with characters of a query", slug: "production", asked: "a&name=production-", want: false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := withEnvironments(t, all)
			got, err := newClient(t, s.URL(), nil).EnvironmentNamed(t.Context(), token, in(row.slug), row.asked)
			if err != nil || got != row.want {
				t.Errorf("named so: %t, %v; want %t", got, err, row.want)
			}
			seen := s.Requests(gitlabtest.Environments)
			if len(seen) != 1 {
				t.Fatalf("GitLab was asked %d times, want once", len(seen))
			}
			u, err := url.Parse(seen[0].URI)
			if diff := cmp.Diff(url.Values{"name": {row.asked}}, u.Query()); diff != "" || err != nil {
				t.Errorf("%v; query (-want +got):\n%s", err, diff)
			}
		})
	}
}

// An empty name would list everything, and a long one is none.
func TestEnvironmentNamed_WhatNoEnvironmentIsCalledIsNotAsked(t *testing.T) {
	s, token := start(t, nil)
	c := newClient(t, s.URL(), nil)
	for _, name := range []string{"", strings.Repeat("a", 1025)} {
		if got, err := c.EnvironmentNamed(t.Context(), token, in("prod"), name); got || err != nil {
			t.Errorf("named so: %t, %v; want false", got, err)
		}
	}
	if got := s.Calls(gitlabtest.AnyEndpoint); got != 0 {
		t.Errorf("GitLab was asked %d times", got)
	}
}

func TestEnvironmentNamed_JobsShareWhichSlugANameHas(t *testing.T) {
	s, token := withEnvironments(t, []gitlabtest.Environment{{Name: "production"}, {Name: "staging"}})
	c := newClient(t, s.URL(), nil)
	for _, row := range []struct {
		slug  string
		asked string
		want  bool
		calls int
	}{
		{slug: "production", asked: "production", want: true, calls: 1},
		{slug: "staging", asked: "production", want: false, calls: 1}, // shared
		{slug: "staging", asked: "staging", want: true, calls: 2},
		{slug: "staging", asked: "absent", want: false, calls: 3},
		{slug: "staging", asked: "absent", want: false, calls: 4}, // it may have come since, so that is not shared
	} {
		got, err := c.EnvironmentNamed(t.Context(), token, in(row.slug), row.asked)
		if err != nil || got != row.want {
			t.Errorf("%s is named %s: %t, %v; want %t", row.slug, row.asked, got, err, row.want)
		}
		if got := s.Calls(gitlabtest.Environments); got != row.calls {
			t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
		}
	}
}

// One user's refusal is not another's.
func TestEnvironmentNamed_RefusalIsNotShared(t *testing.T) {
	s, token := start(t, func(i *gitlabtest.Instance) {
		i.Users = append(i.Users, gitlabtest.User{ID: 11, Username: "guest", Access: map[int64]int{150: 10}})
		i.Jobs = append(i.Jobs, gitlabtest.Job{ID: 2, Project: 150, User: 11, Status: "running"})
	})
	i := s.Instance()
	c := newClient(t, s.URL(), nil)
	if _, err := c.EnvironmentNamed(t.Context(), i.Job(2).Token, in("prod"), "prod"); unlearnable(err) == "" {
		t.Errorf("guest: error is %v, want unlearnable", err)
	}
	if got, err := c.EnvironmentNamed(t.Context(), token, in("prod"), "prod"); !got || err != nil {
		t.Errorf("named so: %t, %v; want true", got, err)
	}
}

func TestEnvironmentNamed_UnusableAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"empty name":    `[{"name":"","slug":"prod"}]`,
		"no slug":       `[{"name":"prod"}]`,
		"name too long": `[{"name":"` + strings.Repeat("a", 1025) + `","slug":"prod"}]`,
		"null":          `null`,
		"name a number": `[{"name":1,"slug":"prod"}]`,
		"object":        `{"name":"prod","slug":"prod"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, token := start(t, nil)
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Body: body})
			if got, err := newClient(t, s.URL(), nil).EnvironmentNamed(t.Context(), token, in("prod"), "prod"); got || !isUnavailable(err) {
				t.Errorf("named so: %t, %v; want unavailable", got, err)
			}
		})
	}
}

// reviews are n environments review/0, review/1, ..., whose slugs all end in a suffix that GitLab computes.
func reviews(n int) []gitlabtest.Environment {
	all := make([]gitlabtest.Environment, n)
	for i := range all {
		all[i].Name = fmt.Sprintf("review/%d", i)
	}
	return all
}

// queries are those of the requests for environments: what they search for, and the page.
func queries(t *testing.T, s *gitlabtest.Server) []string {
	t.Helper()
	var all []string
	for _, r := range s.Requests(gitlabtest.Environments) {
		u, err := url.Parse(r.URI)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u.Query().Get("search")+"#"+u.Query().Get("page"))
	}
	return all
}

func TestEnvironmentName_AsksForWhatCanMatch(t *testing.T) {
	apps := []gitlabtest.Environment{{Name: "review/Fix_Foo"}, {Name: "production"}, {Name: "1/review"}, {Name: "qa/eu/x"}, {Name: "renamed/now", Slug: "before"}}
	slugOf := func(name string) string { return job.Slug(name) }
	rows := []struct {
		name     string
		all      []gitlabtest.Environment
		slug     string
		patterns []string
		want     string
		queries  []string
	}{
		{name: "the slug tells the rest", all: reviews(4900), slug: slugOf("review/4321"), patterns: []string{"review/*"},
			want: "review/4321", queries: []string{"review/4321#1"}},
		{name: "no separator but dashes", all: []gitlabtest.Environment{{Name: "review/fix-foo-and-more-of-it"}},
			slug:     slugOf("review/fix-foo-and-more-of-it"),
			patterns: []string{"review/*"}, want: "review/fix-foo-and-more-of-it", queries: []string{"review/fix-foo-an#1"}},
		{name: "another separator", all: apps, slug: slugOf("review/Fix_Foo"), patterns: []string{"review/*"},
			want: "review/Fix_Foo", queries: []string{"review/fix-foo#1", "review/#1"}},
		{name: "renamed", all: apps, slug: "before", patterns: []string{"renamed/*"}, want: "renamed/now", queries: []string{"renamed/#1"}},
		{name: "one of several patterns", all: apps, slug: slugOf("qa/eu/x"),
			patterns: []string{"production*", "qa/*", "qa/eu/*"}, want: "qa/eu/x", queries: []string{"qa/eu-x#1", "production#1", "qa/#1"}},
		{name: "prefix of two characters", all: apps, slug: "production", patterns: []string{"pr*", "review/*"},
			want: "production", queries: []string{"#1"}},
		{name: "no prefix", all: apps, slug: "production", patterns: []string{"*tion"}, want: "production", queries: []string{"#1"}},
		{name: "literal", all: apps, slug: "production", patterns: []string{"production"}, want: "production", queries: []string{"production#1"}},
		{name: "blank patterns match nothing", all: apps, slug: "production", patterns: []string{"", " ", "prod*"},
			want: "production", queries: []string{"prod#1"}},
		{name: "name that begins with no letter", all: apps, slug: slugOf("1/review"), patterns: []string{"1/r*"},
			want: "1/review", queries: []string{"1/r#1"}},
		{name: "literals that its slug rules out", all: apps, slug: slugOf("qa/eu/x"),
			patterns: []string{"production", "staging", "qa/*"}, want: "qa/eu/x", queries: []string{"qa/eu-x#1", "qa/#1"}},
		{name: "only literals that its slug rules out", all: apps, slug: slugOf("qa/eu/x"),
			patterns: []string{"production", "staging"}, want: "", queries: nil},
		{name: "no pattern can match", all: apps, slug: "production", patterns: []string{"review/*"}, want: "", queries: []string{"review/#1"}},
		{name: "any name", all: apps, slug: "production", patterns: nil, want: "production", queries: []string{"#1"}},
		{name: "too many prefixes", all: apps, slug: "production",
			patterns: []string{"aaa*", "bbb*", "ccc*", "ddd*", "eee*", "prod*"}, want: "production", queries: []string{"#1"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := withEnvironments(t, row.all)
			got, err := newClient(t, s.URL(), nil).EnvironmentName(t.Context(), token, in(row.slug), row.patterns)
			if got != row.want || (row.want == "") != errors.Is(err, job.ErrNoMatch) {
				t.Errorf("name is %q, %v; want %q", got, err, row.want)
			}
			if diff := cmp.Diff(row.queries, queries(t, s)); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnvironmentName_ReadsNoMorePagesThanItMust(t *testing.T) {
	for _, row := range []struct{ environments, index, calls int }{
		{100, 99, 1}, {101, 99, 1}, {101, 100, 2}, {250, 0, 1}, {250, 199, 2}, {250, 200, 3}, {250, 249, 3},
	} {
		t.Run(fmt.Sprintf("number %d of %d", row.index, row.environments), func(t *testing.T) {
			s, token := withEnvironments(t, reviews(row.environments))
			c := newClient(t, s.URL(), nil)
			want := fmt.Sprintf("review/%d", row.index)
			if got, err := c.EnvironmentName(t.Context(), token, in(slugs(s)[row.index]), []string{"*"}); err != nil || got != want {
				t.Errorf("name is %q, %v; want %q", got, err, want)
			}
			if got := s.Calls(gitlabtest.Environments); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

// Jobs of a project read one listing together.
func TestEnvironmentName_ListingIsShared(t *testing.T) {
	s, token := withEnvironments(t, reviews(4900))
	c := newClient(t, s.URL(), nil)
	all := slugs(s)
	for i := 0; i < 4900; i += 80 {
		want := fmt.Sprintf("review/%d", i)
		if got, err := c.EnvironmentName(t.Context(), token, in(all[i]), []string{"*"}); err != nil || got != want {
			t.Fatalf("name is %q, %v; want %q", got, err, want)
		}
	}
	if got := s.Calls(gitlabtest.Environments); got > 49 {
		t.Errorf("GitLab was asked %d times, want once for each of 49 pages", got)
	}
}

// A listing that has begun before a job asked does not prove that the job's environment is not there.
func TestEnvironmentName_NewEnvironment(t *testing.T) {
	s, token := withEnvironments(t, reviews(3))
	c := newClient(t, s.URL(), nil)
	if _, err := c.EnvironmentName(t.Context(), token, in("new"), []string{"*"}); unlearnable(err) == "" {
		t.Errorf("error is %v, want unlearnable", err)
	}
	if err := s.Update(func(i *gitlabtest.Instance) {
		i.Project(150).Environments = append(i.Project(150).Environments, gitlabtest.Environment{Name: "new"})
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.EnvironmentName(t.Context(), token, in("new"), []string{"*"}); got != "new" || err != nil {
		t.Errorf("name is %q, %v; want new", got, err)
	}
}

// The listing goes on where a failure stopped it.
func TestEnvironmentName_ListingIsResumed(t *testing.T) {
	s, token := withEnvironments(t, reviews(1000))
	c := newClient(t, s.URL(), nil)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Status: 500, Skip: 6, Calls: 5})
	last := in(slugs(s)[999])
	if got, err := c.EnvironmentName(t.Context(), token, last, []string{"*"}); got != "" || !isUnavailable(err) {
		t.Fatalf("name is %q, %v; want unavailable", got, err)
	}
	s.ResetCalls()
	if got, err := c.EnvironmentName(t.Context(), token, last, []string{"*"}); got != "review/999" || err != nil {
		t.Errorf("name is %q, %v; want review/999", got, err)
	}
	if diff := cmp.Diff([]string{"#7", "#8", "#9", "#10"}, queries(t, s)); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
}

func TestEnvironmentName_PageThatFails(t *testing.T) {
	unauthorized := gitlabtest.Fault{Status: 401, ContentType: jsonType, Body: `{"message":"401 Unauthorized"}`}
	rows := []struct {
		name   string
		fault  gitlabtest.Fault
		change func(*gitlab.Options)
		calls  int
		ok     func(name string, err error) bool
	}{
		{name: "unavailable", fault: gitlabtest.Fault{Status: 500}, change: nil, calls: 1 + 5,
			ok: func(_ string, err error) bool { return isUnavailable(err) }},
		{name: "oversized", fault: gitlabtest.Fault{Oversize: 1<<20 + 1}, change: nil, calls: 1 + 5,
			ok: func(_ string, err error) bool { return isUnavailable(err) }},
		{name: "refused", fault: unauthorized, change: nil, calls: 1 + 1, ok: func(_ string, err error) bool { return unlearnable(err) != "" }},
		{name: "refused to the job token alone", fault: func() gitlabtest.Fault { f := unauthorized; f.Calls = 1; return f }(), change: withAccess, calls: 1 + 1 + 2,
			ok: func(name string, err error) bool { return name == "review/249" && err == nil }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := withEnvironments(t, reviews(250))
			row.fault.Endpoint, row.fault.Skip = gitlabtest.Environments, 1
			s.Fault(row.fault)
			got, err := newClient(t, s.URL(), row.change).EnvironmentName(t.Context(), token, in(slugs(s)[249]), []string{"*"})
			if !row.ok(got, err) {
				t.Errorf("name is %q, %v", got, err)
			}
			if got := s.Calls(gitlabtest.Environments); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

func TestEnvironmentName_ListingIsBounded(t *testing.T) {
	s, token := withEnvironments(t, reviews(10_100))
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.Timeout = 2 * time.Minute }) // enough on a busy machine
	for range 2 {
		if got, err := c.EnvironmentName(t.Context(), token, in("elsewhere"), []string{"*"}); got != "" || !strings.Contains(unlearnable(err), "10000") {
			t.Errorf("name is %q, %v; want that there are too many", got, err)
		}
	}
	if got := s.Calls(gitlabtest.Environments); got != 100 {
		t.Errorf("GitLab was asked %d times, want 100", got)
	}
}

// A page of environments carries 100 times whatever GitLab says of each and of its project.
func TestEnvironmentName_HundredLargeEntriesFit(t *testing.T) {
	all := reviews(100)
	for i := range all {
		all[i].Name = strings.Repeat("é", 500) + all[i].Name
		all[i].Slug = fmt.Sprintf("slug-%d", i)
	}
	s, token := withEnvironments(t, all)
	s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Oversize: 1 << 20})
	if got, err := newClient(t, s.URL(), nil).EnvironmentName(t.Context(), token, in("slug-99"), []string{"*"}); err != nil || got != all[99].Name {
		t.Errorf("%v", err)
	}
}
