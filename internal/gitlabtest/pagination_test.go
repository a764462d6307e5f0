package gitlabtest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestPagination_SaysWhereItIs(t *testing.T) {
	w := example("")
	w.Projects[0].Branches = nil
	for i := range 250 {
		w.Projects[0].Branches = append(w.Projects[0].Branches, fmt.Sprintf("branch-%03d", i))
	}
	g := start(t, gitlabtest.Options{Instance: w, RelativeURLRoot: "/gitlab"})
	tests := []struct {
		query       string
		count       int
		first       string
		headers     string // X-Page X-Per-Page X-Prev-Page X-Next-Page X-Total X-Total-Pages
		next, prev  string // pages in Link
		lastPage    string
		errorStatus int
	}{
		{query: "", count: 20, first: "branch-000", headers: "1 20 - 2 250 13", next: "2", lastPage: "13"},
		{query: "page=13", count: 10, first: "branch-240", headers: "13 20 12 - 250 13", prev: "12", lastPage: "13"},
		{query: "page=14", headers: "14 20 13 - 250 13", lastPage: "13"},
		{query: "per_page=100&page=2", count: 100, first: "branch-100", headers: "2 100 1 3 250 3", prev: "1", next: "3",
			lastPage: "3"},
		{query: "per_page=1000", count: 100, first: "branch-000", headers: "1 100 - 2 250 3", next: "2", lastPage: "3"},
		{query: "per_page=0&page=-1", count: 20, first: "branch-000", headers: "1 20 - 2 250 13", next: "2", lastPage: "13"},
		{query: "search=branch-00&per_page=10", count: 10, first: "branch-000", headers: "1 10 - - 10 1", lastPage: "1"},
		{query: "search=nothing", headers: "1 20 - - 0 1", lastPage: "1"},
		{query: "page=x", errorStatus: 400},
		{query: "per_page=1.5", errorStatus: 400},
	}
	for _, test := range tests {
		t.Run("query "+test.query, func(t *testing.T) {
			got := g.getAs(job, branchesPath+"?"+test.query)
			if test.errorStatus != 0 {
				if got.StatusCode != test.errorStatus {
					t.Errorf("status %d", got.StatusCode)
				}
				return
			}
			found := names(t, got)
			if len(found) != test.count || test.count > 0 && found[0] != test.first {
				t.Errorf("%d branches: %v", len(found), found)
			}
			var headers []string
			for _, name := range []string{"X-Page", "X-Per-Page", "X-Prev-Page", "X-Next-Page", "X-Total", "X-Total-Pages"} {
				value := got.Header.Get(name)
				if value == "" {
					value = "-"
				}
				headers = append(headers, value)
			}
			if diff := cmp.Diff(test.headers, strings.Join(headers, " ")); diff != "" {
				t.Error(diff)
			}
			want := map[string]string{"first": "1", "last": test.lastPage}
			if test.next != "" {
				want["next"] = test.next
			}
			if test.prev != "" {
				want["prev"] = test.prev
			}
			if diff := cmp.Diff(want, linked(t, g, got.Header.Get("Link"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// linked follows the links of a Link header and returns the page each leads to, by relation.
func linked(t *testing.T, g *gitlab, header string) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for link := range strings.SplitSeq(header, ", ") {
		target, relation, found := strings.Cut(link, ">; rel=")
		if !found {
			t.Fatalf("link %q", link)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.TrimPrefix(target, "<"), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("JOB-TOKEN", g.token(job))
		pages[strings.Trim(relation, `"`)] = g.do(r).Header.Get("X-Page")
	}
	return pages
}
