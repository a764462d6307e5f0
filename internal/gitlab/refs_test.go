package gitlab_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

// ways are how a ref's protection can be asked for.
var ways = []struct {
	name     string
	kind     job.RefType
	endpoint string
	change   func(*gitlab.Options)
	other    string // a ref of the other kind
}{
	{name: "branch", kind: job.Branch, endpoint: gitlabtest.Branch, change: withAccess, other: "v1.0"},
	{name: "tag", kind: job.Tag, endpoint: gitlabtest.Tag, change: withAccess, other: "main"},
	{name: "branch in the list", kind: job.Branch, endpoint: gitlabtest.Branches, change: nil, other: "v1.0"},
}

func TestRefProtected_FollowsTheProjectsRules(t *testing.T) {
	rows := []struct {
		name      string
		change    func(*gitlab.Options)
		ref       job.Ref
		protected bool
	}{
		{name: "branch protected by name", change: withAccess, ref: job.Ref{Type: job.Branch, Name: "main"}, protected: true},
		{name: "branch protected by wildcard", change: withAccess, ref: job.Ref{Type: job.Branch, Name: "release-1"}, protected: true},
		{name: "branch with a slash", change: withAccess, ref: job.Ref{Type: job.Branch, Name: "feature/x"}, protected: false},
		{name: "tag protected by wildcard", change: withAccess, ref: job.Ref{Type: job.Tag, Name: "v1.0"}, protected: true},
		{name: "tag with a slash", change: withAccess, ref: job.Ref{Type: job.Tag, Name: "nightly/1"}, protected: false},
		{name: "listed branch protected by name", change: nil, ref: job.Ref{Type: job.Branch, Name: "main"}, protected: true},
		{name: "listed branch protected by wildcard", change: nil, ref: job.Ref{Type: job.Branch, Name: "release-1"}, protected: true},
		{name: "listed branch with a slash", change: nil, ref: job.Ref{Type: job.Branch, Name: "feature/x"}, protected: false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, nil)
			c := newClient(t, s.URL(), row.change)
			got, err := c.RefProtected(t.Context(), token, on(row.ref.Type, row.ref.Name))
			if err != nil || got != row.protected {
				t.Errorf("protected: %t, %v; want %t", got, err, row.protected)
			}
			// The jobs of a project share the answer.
			if again, err := c.RefProtected(t.Context(), "another-job", on(row.ref.Type, row.ref.Name)); err != nil || again != got {
				t.Errorf("for another job: %t, %v", again, err)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestRefProtected_OfNoRef(t *testing.T) {
	s, token := start(t, nil)
	c := newClient(t, s.URL(), withAccess)
	mergeRequest := on(job.Branch, "main")
	mergeRequest.Ref.MergeRequest = true
	for name, j := range map[string]*job.Job{"unknown type": identified(), "merge request": mergeRequest} {
		if got, err := c.RefProtected(t.Context(), token, j); got || unlearnable(err) == "" {
			t.Errorf("%s: protected: %t, %v; want unlearnable", name, got, err)
		}
	}
	if got := s.Calls(gitlabtest.AnyEndpoint); got != 0 {
		t.Errorf("GitLab was asked %d times", got)
	}
}

// A ref that is gone is no refusal: no permission would teach its protection.
func TestRefProtected_RefThatIsNotThere(t *testing.T) {
	for _, way := range ways {
		for _, row := range []struct {
			name, ref string
			calls     int
		}{
			{"deleted", "gone", 1},
			{"in another case", "MAIN", 1},
			{"merge request's", "refs/merge-requests/1/head", 1},
			{"qualified", "refs/heads/main", 1},
			{"only the beginning of a name", "releas", 1},
			{"of the other kind", way.other, 1},
			{"empty", "", 0},
			{"longer than any name", strings.Repeat("a", 1025), 0},
		} {
			t.Run(way.name+" "+row.name, func(t *testing.T) {
				s, token := start(t, nil)
				_, err := newClient(t, s.URL(), way.change).RefProtected(t.Context(), token, on(way.kind, row.ref))
				if !strings.Contains(unlearnable(err), "does not exist any more") {
					t.Errorf("error is %v, want that the ref does not exist any more", err)
				}
				if got := s.Calls(gitlabtest.AnyEndpoint); got != row.calls {
					t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
				}
			})
		}
	}
}

// The name is protected and every other is not: an answer about another ref would show.
func TestRefProtected_NamesMayHoldAnything(t *testing.T) {
	for _, name := range []string{
		"feature/a b?c", "a/b/c/d", "..", ".", "../..", "../../../../user", "./x", "x/.", "a%2Fb", "50%", "%", "a+b", "a&page=2", "a=b",
		"a;b", "a,b", "#1", "a#b", "händler", "日本", "a$b", "$", "$a", "a$", "a$b$c", "a*b", "*", "^a", "^", "v1.0.json", "@", "a:b", ":branch", `a\b`, `"`, "a'b", "<a>", "-",
		"main\n", "\t", "\x01", strings.Repeat("é/", 300), strings.Repeat("?", 1024),
	} {
		t.Run(strings.ToValidUTF8(name[:min(len(name), 20)], ""), func(t *testing.T) {
			for _, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					s, token := start(t, func(i *gitlabtest.Instance) {
						p := i.Project(150)
						p.Branches, p.Tags = append(p.Branches, name), append(p.Tags, name)
						p.ProtectedBranches, p.ProtectedTags = []string{name}, []string{name}
					})
					got, err := newClient(t, s.URL(), way.change).RefProtected(t.Context(), token, on(way.kind, name))
					if err != nil || !got {
						t.Errorf("protected: %t, %v; want true", got, err)
					}
				})
			}
		})
	}
}

func TestRefProtected_UnusableAnswers(t *testing.T) {
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
	for _, way := range ways {
		for _, row := range rows {
			t.Run(way.name+" "+row.name, func(t *testing.T) {
				s, token := start(t, func(i *gitlabtest.Instance) { i.Project(150).Tags = []string{"main"} })
				list := way.endpoint == gitlabtest.Branches
				if list {
					row.body = "[" + row.body + "]"
				}
				s.Fault(gitlabtest.Fault{Endpoint: way.endpoint, Body: row.body})
				got, err := newClient(t, s.URL(), way.change).RefProtected(t.Context(), token, on(way.kind, "main"))
				switch absent := !strings.Contains(row.body, `"name":"main"`); {
				case list && absent:
					if !errors.Is(err, gitlab.ErrNotFound) {
						t.Errorf("error is %v, want not found", err)
					}
				case row.useless:
					if !isUnavailable(err) || got {
						t.Errorf("error is %v, want unavailable", err)
					}
				case err != nil || !got:
					t.Errorf("protected: %t, %v; want true", got, err)
				}
			})
		}
	}
}

func TestRefProtected_SearchesForTheBeginningOfTheName(t *testing.T) {
	rows := []struct {
		name     string
		branches []string
		branch   string
		search   string
		found    bool
		calls    int
	}{
		{name: "alone", branches: []string{"main"}, branch: "main", search: "^main", found: true, calls: 1},
		{name: "among others", branches: append(numbered("main-", 250), "main"), branch: "main", search: "^main", found: true, calls: 1},
		{name: "only others", branches: numbered("main-", 250), branch: "main", search: "^main", found: false, calls: 3},
		{name: "others in front do not count", branches: append(numbered("a-main-", 250), "main"), branch: "main", search: "^main", found: true, calls: 1},
		{name: "on the last page", branches: numbered("main-", 250), branch: "main-249", search: "^main-249", found: true, calls: 1},
		{name: "another case before it", branches: []string{"MAIN", "Main", "main"}, branch: "main", search: "^main", found: true, calls: 1},
		{name: "dollar", branches: append(numbered("a-", 250), "a$b"), branch: "a$b", search: "^a", found: true, calls: 1},
		{name: "dollar in front", branches: append(numbered("z-", 250), "$b"), branch: "$b", search: "^", found: true, calls: 1},
		{name: "dollar behind", branches: append(numbered("A-", 250), "a$"), branch: "a$", search: "^a", found: true, calls: 3},
		{name: "too many others", branches: numbered("main-", 1000), branch: "main", search: "^main", found: false, calls: 4},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, func(i *gitlabtest.Instance) {
				i.Project(150).Branches, i.Project(150).ProtectedBranches = row.branches, []string{row.branch}
			})
			got, err := newClient(t, s.URL(), nil).RefProtected(t.Context(), token, on(job.Branch, row.branch))
			if got != row.found || errors.Is(err, gitlab.ErrNotFound) == row.found {
				t.Errorf("protected: %t, %v; want %t", got, err, row.found)
			}
			if got := s.Calls(gitlabtest.Branches); got != row.calls {
				t.Errorf("GitLab was asked %d times, want %d", got, row.calls)
			}
			u, err := url.Parse(s.Requests(gitlabtest.Branches)[0].URI)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{"search": {row.search}, "page": {"1"}, "per_page": {"100"}}
			if diff := cmp.Diff(want, u.Query()); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
		})
	}
}

func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return all
}

// The first page of a search comes from Gitaly whole, and always announces a second one
// (lib/gitlab/pagination/gitaly_keyset_pager.rb). Tags are listed in the same way.
func TestRefProtected_FirstPageThatHoldsEverything(t *testing.T) {
	var calls atomic.Int64
	gitaly := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", jsonType)
		if r.URL.Query().Get("page") != "1" {
			w.Header().Set("X-Next-Page", "")
			fmt.Fprint(w, "[]")
			return
		}
		w.Header().Set("X-Next-Page", "2")
		entry := `{"name":"main-1","protected":false},`
		fmt.Fprint(w, "["+strings.Repeat(entry, 150)+`{"name":"main","protected":true}]`)
	}))
	defer gitaly.Close()
	c := newClient(t, gitaly.URL, nil)
	for _, kind := range []job.RefType{job.Branch, job.Tag} {
		calls.Store(0)
		if got, err := c.RefProtected(t.Context(), "t", on(kind, "main")); err != nil || !got || calls.Load() != 1 {
			t.Errorf("%s: protected: %t, %v after %d questions; want true after one", kind, got, err, calls.Load())
		}
		calls.Store(0)
		if _, err := c.RefProtected(t.Context(), "t", on(kind, "mai")); !errors.Is(err, gitlab.ErrNotFound) || calls.Load() != 2 {
			t.Errorf("%s: %v after %d questions; want not found after two", kind, err, calls.Load())
		}
	}
}
