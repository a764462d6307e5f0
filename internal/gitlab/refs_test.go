package gitlab_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// protection is a question about one ref of project 150.
type protection func(ctx context.Context, c *gitlab.Client, token, name string) (bool, error)

func branchProtection(ctx context.Context, c *gitlab.Client, _, name string) (bool, error) {
	return c.BranchProtected(ctx, c.Access(), 150, name)
}

func tagProtection(ctx context.Context, c *gitlab.Client, _, name string) (bool, error) {
	return c.TagProtected(ctx, c.Access(), 150, name)
}

func listedProtection(ctx context.Context, c *gitlab.Client, token, name string) (bool, error) {
	return c.BranchListed(ctx, token, 150, name)
}

var protections = []struct {
	name     string
	endpoint string
	ask      protection
	other    string // a ref of the other kind
}{
	{"branch", gitlabtest.Branch, branchProtection, "v1.0"},
	{"tag", gitlabtest.Tag, tagProtection, "main"},
	{"branch in the list", gitlabtest.Branches, listedProtection, "v1.0"},
}

func TestProtection_FollowsTheProjectsRules(t *testing.T) {
	rows := []struct {
		name      string
		ask       protection
		ref       string
		protected bool
	}{
		{"branch protected by name", branchProtection, "main", true},
		{"branch protected by wildcard", branchProtection, "release-1", true},
		{"branch with a slash", branchProtection, "feature/x", false},
		{"tag protected by wildcard", tagProtection, "v1.0", true},
		{"tag with a slash", tagProtection, "nightly/1", false},
		{"listed branch protected by name", listedProtection, "main", true},
		{"listed branch protected by wildcard", listedProtection, "release-1", true},
		{"listed branch with a slash", listedProtection, "feature/x", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c, token := factsServer(t, nil)
			got, err := row.ask(t.Context(), c, token, row.ref)
			if err != nil || got != row.protected {
				t.Errorf("protected: %t, %v; want %t", got, err, row.protected)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestProtection_ChangesWithTheNextQuestion(t *testing.T) {
	for _, p := range protections {
		t.Run(p.name, func(t *testing.T) {
			s, c, token := factsServer(t, func(w *gitlabtest.Instance) { w.Project(150).Branches = []string{"v1.0"} })
			for _, rules := range [][]string{nil, {"v*"}, {"w*"}, {"v1.0"}} {
				if err := s.Update(func(w *gitlabtest.Instance) {
					w.Project(150).ProtectedBranches, w.Project(150).ProtectedTags = rules, rules
				}); err != nil {
					t.Fatal(err)
				}
				want := len(rules) > 0 && strings.HasPrefix(rules[0], "v")
				if got, err := p.ask(t.Context(), c, token, "v1.0"); err != nil || got != want {
					t.Errorf("protected: %t, %v; want %t with the rules %q", got, err, want, rules)
				}
			}
		})
	}
}

// A ref that is gone is no refusal: no permission would teach its protection.
func TestProtection_RefThatIsNotThere(t *testing.T) {
	for _, p := range protections {
		for _, row := range []struct {
			name, ref string
			calls     int
		}{
			{"deleted", "gone", 1},
			{"in another case", "MAIN", 1},
			{"merge request's", "refs/merge-requests/1/head", 1},
			{"qualified", "refs/heads/main", 1},
			{"only the beginning of a name", "releas", 1},
			{"of the other kind", p.other, 1},
			{"empty", "", 0},
			{"longer than any name", strings.Repeat("a", 1025), 0},
		} {
			t.Run(p.name+" "+row.name, func(t *testing.T) {
				s, c, token := factsServer(t, nil)
				_, err := p.ask(t.Context(), c, token, row.ref)
				var refused *gitlab.RefusedError
				if !errors.Is(err, gitlab.ErrNotFound) || errors.As(err, &refused) {
					t.Errorf("error is %v, want not found", err)
				}
				if got := s.Calls(gitlabtest.AnyEndpoint); got != row.calls {
					t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
				}
			})
		}
	}
}

// The name is protected and every other is not: an answer about another ref would show.
func TestProtection_NamesMayHoldAnything(t *testing.T) {
	for _, name := range []string{
		"feature/a b?c", "a/b/c/d", "..", ".", "../..", "../../../../user", "./x", "x/.", "a%2Fb", "50%", "%", "a+b", "a&page=2", "a=b",
		"a;b", "a,b", "#1", "a#b", "händler", "日本", "a$b", "$", "$a", "a$", "a$b$c", "a*b", "*", "^a", "^", "v1.0.json", "@", "a:b", ":branch", `a\b`, `"`, "a'b", "<a>", "-",
		"main\n", "\t", "\x01", strings.Repeat("é/", 300), strings.Repeat("?", 1024),
	} {
		t.Run(strings.ToValidUTF8(name[:min(len(name), 20)], ""), func(t *testing.T) {
			for _, p := range protections {
				t.Run(p.name, func(t *testing.T) {
					_, c, token := factsServer(t, func(w *gitlabtest.Instance) {
						project := w.Project(150)
						project.Branches, project.Tags = append(project.Branches, name), append(project.Tags, name)
						project.ProtectedBranches, project.ProtectedTags = []string{name}, []string{name}
					})
					if got, err := p.ask(t.Context(), c, token, name); err != nil || !got {
						t.Errorf("protected: %t, %v; want true", got, err)
					}
				})
			}
		})
	}
}

func TestProtection_UnusableAnswers(t *testing.T) {
	rows := []struct {
		name    string
		body    string
		useless bool
	}{
		{"protected", `{"name":"main","protected":true,"new":[{}]}`, false},
		{"another ref", `{"name":"other","protected":true}`, true},
		{"another case", `{"name":"Main","protected":true}`, true},
		{"no name", `{"protected":true}`, true},
		{"not said", `{"name":"main"}`, true},
		{"null", `{"name":"main","protected":null}`, true},
		{"text", `{"name":"main","protected":"true"}`, true},
		{"number", `{"name":"main","protected":1}`, true},
		{"key in another case", `{"name":"main","Protected":true}`, true},
		{"trailing data", `{"name":"main","protected":true}{}`, true},
	}
	for _, p := range protections {
		for _, row := range rows {
			t.Run(p.name+" "+row.name, func(t *testing.T) {
				s, c, token := factsServer(t, func(w *gitlabtest.Instance) { w.Project(150).Tags = []string{"main"} })
				list := p.endpoint == gitlabtest.Branches
				if list {
					row.body = "[" + row.body + "]"
				}
				s.Fault(gitlabtest.Fault{Endpoint: p.endpoint, Body: row.body})
				got, err := p.ask(t.Context(), c, token, "main")
				var unavailable *gitlab.UnavailableError
				switch absent := !strings.Contains(row.body, `"name":"main"`); {
				case list && absent:
					if !errors.Is(err, gitlab.ErrNotFound) {
						t.Errorf("error is %v, want not found", err)
					}
				case row.useless:
					if !errors.As(err, &unavailable) || got {
						t.Errorf("error is %v, want unavailable", err)
					}
				case err != nil || !got:
					t.Errorf("protected: %t, %v; want true", got, err)
				}
			})
		}
	}
}
