package gitlab_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// environments are n environments review/0, review/1, ..., whose slugs all end in a suffix that GitLab computes.
func environments(n int) []gitlabtest.Environment {
	all := make([]gitlabtest.Environment, n)
	for i := range all {
		all[i].Name = fmt.Sprintf("review/%d", i)
	}
	return all
}

// asking serves project 150 with these environments.
func asking(t *testing.T, all []gitlabtest.Environment) (s *gitlabtest.Server, name func(slug string) (string, error), slugs []string) {
	t.Helper()
	s, c, token := factsServer(t, func(w *gitlabtest.Instance) { w.Project(150).Environments = all })
	w := s.Instance()
	for _, e := range w.Project(150).Environments {
		slugs = append(slugs, e.Slug)
	}
	return s, func(slug string) (string, error) {
		return c.EnvironmentName(t.Context(), gitlab.JobToken(token), 150, slug)
	}, slugs
}

func TestEnvironmentName_IsThatOfTheSlug(t *testing.T) {
	rows := []struct {
		name string
		all  []gitlabtest.Environment
		slug string
		want string
	}{
		{"own slug", []gitlabtest.Environment{{Name: "production"}}, "production", "production"},
		{"with a slash", []gitlabtest.Environment{{Name: "eu/prod"}}, "eu-prod-lb01nz", "eu/prod"},
		{"namesake of the slug", []gitlabtest.Environment{{Name: "eu-prod-lb01nz"}, {Name: "eu/prod", Slug: "eu-prod-old"}}, "eu-prod-lb01nz", "eu-prod-lb01nz"},
		{"slug of an older algorithm", []gitlabtest.Environment{{Name: "eu-prod", Slug: "eu-prod-abc123"}}, "eu-prod-abc123", "eu-prod"},
		{"renamed", []gitlabtest.Environment{{Name: "new", Slug: "old"}}, "old", "new"},
		{"stopping", []gitlabtest.Environment{{Name: "eu/prod", State: "stopping"}}, "eu-prod-lb01nz", "eu/prod"},
		{"stopped", []gitlabtest.Environment{{Name: "eu/prod", State: "stopped"}}, "eu-prod-lb01nz", "eu/prod"},
		{"longest name", []gitlabtest.Environment{{Name: strings.Repeat("é", 512), Slug: "e"}}, "e", strings.Repeat("é", 512)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, name, _ := asking(t, row.all)
			if got, err := name(row.slug); err != nil || got != row.want {
				t.Errorf("name is %q, %v; want %q", got, err, row.want)
			}
			if got := s.Calls(gitlabtest.Environments); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestEnvironmentName_ReadsNoMorePagesThanItMust(t *testing.T) {
	for _, row := range []struct{ environments, index, calls int }{
		{100, 99, 1}, {101, 99, 1}, {101, 100, 2}, {250, 0, 1}, {250, 199, 2}, {250, 200, 3}, {250, 249, 3},
	} {
		t.Run(fmt.Sprintf("number %d of %d", row.index, row.environments), func(t *testing.T) {
			s, name, slugs := asking(t, environments(row.environments))
			want := fmt.Sprintf("review/%d", row.index)
			if got, err := name(slugs[row.index]); err != nil || got != want {
				t.Errorf("name is %q, %v; want %q", got, err, want)
			}
			if got := s.Calls(gitlabtest.Environments); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
			for i, r := range s.Requests(gitlabtest.Environments) {
				u, err := url.Parse(r.URI)
				if err != nil {
					t.Fatal(err)
				}
				want := url.Values{"page": {fmt.Sprint(i + 1)}, "per_page": {"100"}} // no filter by state
				if diff := cmp.Diff(want, u.Query()); diff != "" {
					t.Errorf("query (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestEnvironmentName_NoSuchSlug(t *testing.T) {
	for _, row := range []struct {
		name                string
		environments, calls int
		slug                string
	}{
		{"no environments", 0, 1, "prod"},
		{"one full page", 100, 1, "prod"},
		{"three pages", 250, 3, "prod"},
		{"a name is no slug", 3, 1, "review/0"},
		{"the beginning of a slug", 3, 1, "review"},
		{"empty", 3, 0, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, name, _ := asking(t, environments(row.environments))
			got, err := name(row.slug)
			if !errors.Is(err, gitlab.ErrNotFound) || got != "" {
				t.Errorf("name is %q, %v; want not found", got, err)
			}
			if got := s.Calls(gitlabtest.Environments); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
		})
	}
}

func TestEnvironmentName_UnusableAnswers(t *testing.T) {
	rows := []struct {
		name string
		body string
		want error // in the chain, besides the UnavailableError unless it is ErrNotFound; nil for any
	}{
		{"empty name", `[{"name":"","slug":"prod"}]`, gitlab.ErrIncompleteReply},
		{"no name", `[{"slug":"prod"}]`, gitlab.ErrIncompleteReply},
		{"name too long", `[{"name":"` + strings.Repeat("a", 1025) + `","slug":"prod"}]`, gitlab.ErrIncompleteReply},
		{"null", `null`, gitlab.ErrIncompleteReply},
		{"name a number", `[{"name":1,"slug":"prod"}]`, nil},
		{"object", `{"name":"prod","slug":"prod"}`, nil},
		{"slug in another case", `[{"name":"prod","slug":"PROD"}]`, gitlab.ErrNotFound},
		{"key in another case", `[{"name":"prod","Slug":"prod"}]`, gitlab.ErrNotFound},
		{"neither name nor slug", `[{},null]`, gitlab.ErrNotFound},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, name, _ := asking(t, environments(1))
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.Environments, Body: row.body})
			got, err := name("prod")
			if row.want != nil && !errors.Is(err, row.want) {
				t.Errorf("error is %v, want %v", err, row.want)
			}
			if absent := row.want == gitlab.ErrNotFound; is[*gitlab.UnavailableError](err) == absent || got != "" {
				t.Errorf("name is %q, %v", got, err)
			}
		})
	}
}
