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
)

func TestBranchListed_SearchesForTheBeginningOfTheName(t *testing.T) {
	rows := []struct {
		name     string
		branches []string
		branch   string
		search   string
		found    bool
		calls    int
	}{
		{"alone", []string{"main"}, "main", "^main", true, 1},
		{"among others", append(numbered("main-", 250), "main"), "main", "^main", true, 1},
		{"only others", numbered("main-", 250), "main", "^main", false, 3},
		{"others in front do not count", append(numbered("a-main-", 250), "main"), "main", "^main", true, 1},
		{"on the last page", numbered("main-", 250), "main-249", "^main-249", true, 1},
		{"another case before it", []string{"MAIN", "Main", "main"}, "main", "^main", true, 1},
		{"dollar", append(numbered("a-", 250), "a$b"), "a$b", "^a", true, 1},
		{"dollar in front", append(numbered("z-", 250), "$b"), "$b", "^", true, 1},
		{"dollar behind", append(numbered("A-", 250), "a$"), "a$", "^a", true, 3},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c, token := factsServer(t, func(w *gitlabtest.Instance) {
				w.Project(150).Branches, w.Project(150).ProtectedBranches = row.branches, []string{row.branch}
			})
			got, err := c.BranchListed(t.Context(), token, 150, row.branch)
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
// (lib/gitlab/pagination/gitaly_keyset_pager.rb).
func TestBranchListed_FirstPageThatHoldsEverything(t *testing.T) {
	var calls atomic.Int64
	gitaly := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", "application/json")
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
	if got, err := c.BranchListed(t.Context(), "t", 150, "main"); err != nil || !got || calls.Load() != 1 {
		t.Errorf("protected: %t, %v after %d questions; want true after one", got, err, calls.Load())
	}
	calls.Store(0)
	if _, err := c.BranchListed(t.Context(), "t", 150, "mai"); !errors.Is(err, gitlab.ErrNotFound) || calls.Load() != 2 {
		t.Errorf("%v after %d questions; want not found after two", err, calls.Load())
	}
}
