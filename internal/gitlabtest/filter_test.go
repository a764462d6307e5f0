package gitlabtest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// filtered is example with one entry for the project, of this configuration, and a job in this environment.
func filtered(t *testing.T, configuration map[string]any, environment string) gitlabtest.Instance {
	t.Helper()
	entry := map[string]any{"id": "group1/group1-1/project1"}
	for key, value := range configuration {
		entry[key] = value
	}
	config, err := json.Marshal(map[string]any{"ci_access": map[string]any{"projects": []any{entry}}})
	if err != nil {
		t.Fatal(err)
	}
	w := example(string(config)) // JSON is YAML
	w.Projects[0].Environments, w.Jobs[0].Environment = nil, environment
	if environment != "" {
		w.Projects[0].Environments = []gitlabtest.Environment{{Name: environment}}
	}
	return w
}

func TestEnvironmentFilter(t *testing.T) {
	list := func(patterns ...any) any { return patterns }
	absent := "absent" // no such key
	tests := []struct {
		name         string
		environments any
		job          string
		kept         bool
	}{
		{"absent, with environment", absent, "production", true},
		{"absent, without environment", absent, "", true},
		{"null", nil, "production", true},
		{"empty list", list(), "production", true},
		{"empty list, without environment", list(), "", true},
		{"blank text", " ", "production", true},
		{"false", false, "production", true},
		{"empty mapping", map[string]any{}, "production", true},
		{"some, without environment", list("production"), "", false},
		{"any, without environment", list("*"), "", false},
		{"equal", list("production"), "production", true},
		{"other case", list("production"), "Production", false},
		{"longer", list("production"), "production/eu", false},
		{"shorter", list("production"), "prod", false},
		{"one of several", list("staging", "review/*", "production"), "review/123", true},
		{"none", list("staging"), "production", false},
		{"any", list("*"), "whatever/nested", true},
		{"list of an empty pattern", list(""), "production", false},
		{"list of null", list(nil), "production", false},
		{"list of a blank pattern", list(" "), "production", false},
		{"a pattern after a blank one", list("", "production"), "production", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			configuration := map[string]any{"environments": test.environments}
			if test.environments == absent {
				configuration = nil
			}
			got := startInstance(t, filtered(t, configuration, test.job)).getAs(job, lookup).agents(t)
			if kept := len(got) == 1; kept != test.kept {
				t.Errorf("kept %v, want %v", kept, test.kept)
			}
		})
	}
}

// TestEnvironmentMatcher_IsUnanchoredAndUnescaped has the rows of GitLab's spec and the patterns that match more than
// the docs suggest.
func TestEnvironmentMatcher_IsUnanchoredAndUnescaped(t *testing.T) {
	tests := []struct {
		pattern, name string
		matches       bool
	}{
		{"production", "production", true},
		{"production", "productiom", false},
		{"review/*", "review/123", true},
		{"review/*", "review123", false},
		{"review/*/*", "review/123/456", true},
		{"review/*/*", "review/123", false},
		{"*-this-is-a-pattern-*", "abc-this-is-a-pattern-def", true},
		{"*-this-is-a-pattern-*", "abc-this-is-a-pattern", false},
		{"review/*", "my-review/1", true},
		{"review/*", "prod/review/x", true},
		{"review/*", "review/", true},
		{"prod*", "preprod", true},
		{"prod*", "non-production", true},
		{"prod-*", "nonprod-x", true},
		{"staging*", "pre-staging", true},
		{"*-prod", "eu-prod-canary", true},
		{"v1.2/*", "v1x2/a", true},
		{"v1.2", "v1x2", false},
		{"prod|*", "anything", true},
		{"a+b*", "aab", true},
		{"a+b*", "a+b", false},
		{"*", "nested/one", true},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s on %s", test.pattern, test.name), func(t *testing.T) {
			w := filtered(t, map[string]any{"environments": []string{test.pattern}}, test.name)
			got := startInstance(t, w).getAs(job, lookup).agents(t)
			if matches := len(got) == 1; matches != test.matches {
				t.Errorf("matches %v, want %v", matches, test.matches)
			}
		})
	}
}

func TestEnvironmentFilter_BrokenPatternIsAServerError(t *testing.T) {
	tests := []struct {
		name         string
		environments any
		job          string
		status       int
	}{
		{"reached", []string{"a(b*"}, "production", 500},
		{"no star, so no expression", []string{"a(b"}, "production", 200},
		{"an earlier one matches", []string{"production", "a(b*"}, "production", 200},
		{"an earlier one does not", []string{"staging", "a(b*"}, "production", 500},
		{"it equals the name", []string{"a(b*"}, "a(b*", 200},
		{"no environment", []string{"a(b*"}, "", 200},
		{"a list that is none", "production", "production", 500},
		{"a list that is none, without environment", "production", "", 200},
		{"a pattern that is no text", []int{1}, "production", 500},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := startInstance(t, filtered(t, map[string]any{"environments": test.environments}, test.job))
			got := g.getAs(job, lookup)
			if got.StatusCode != test.status {
				t.Fatalf("status %d, want %d", got.StatusCode, test.status)
			}
			if test.status == http.StatusInternalServerError && got.body != `{"message":"500 Internal Server Error"}` {
				t.Errorf("body %s", got.body)
			}
		})
	}
}

func TestProtectedFilter(t *testing.T) {
	const absent = "absent"
	tests := []struct {
		only                   any
		onProtected, elsewhere bool
	}{
		{absent, true, true},
		{nil, true, true},
		{false, true, true},
		{true, true, false},
		{"false", true, false},
		{0, true, false},
	}
	for _, test := range tests {
		for ref, kept := range map[string]bool{"main": test.onProtected, "feature/x": test.elsewhere} {
			t.Run(fmt.Sprintf("%T %v on %s", test.only, test.only, ref), func(t *testing.T) {
				configuration := map[string]any{"protected_branches_only": test.only}
				if test.only == absent {
					configuration = nil
				}
				w := filtered(t, configuration, "")
				w.Jobs[0].Pipeline.Ref = ref
				g := startInstance(t, w)
				if got := len(g.getAs(job, lookup).agents(t)) == 1; got != kept {
					t.Errorf("kept %v, want %v", got, kept)
				}
				g.mustUpdate(func(w *gitlabtest.Instance) { w.Settings.IgnoresProtectedBranches = true })
				if got := len(g.getAs(job, lookup).agents(t)); got != 1 {
					t.Error("a release that does not filter has withheld the agent")
				}
			})
		}
	}
}

func TestProtectedRef_IsJudgedByKindAndNow(t *testing.T) {
	tests := []struct {
		name           string
		pipeline       gitlabtest.Pipeline
		branches, tags []string // the protected ones
		protected      bool
	}{
		{name: "branch", pipeline: gitlabtest.Pipeline{Ref: "main"}, branches: []string{"main"}, protected: true},
		{name: "branch by wildcard", pipeline: gitlabtest.Pipeline{Ref: "release/1"}, branches: []string{"release/*"},
			protected: true},
		{name: "a wildcard is anchored", pipeline: gitlabtest.Pipeline{Ref: "my-release/1"}, branches: []string{"release/*"}},
		{name: "a wildcard is anchored at the end", pipeline: gitlabtest.Pipeline{Ref: "x-stable-2"},
			branches: []string{"*-stable"}},
		{name: "a wildcard is escaped", pipeline: gitlabtest.Pipeline{Ref: "v1x2-a"}, branches: []string{"v1.2-*"}},
		{name: "case counts", pipeline: gitlabtest.Pipeline{Ref: "Main"}, branches: []string{"main"}},
		{name: "a deleted branch, by its name", pipeline: gitlabtest.Pipeline{Ref: "gone"}, branches: []string{"gone"},
			protected: true},
		{name: "tag", pipeline: gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"}, tags: []string{"v*"}, protected: true},
		{name: "unprotected tag", pipeline: gitlabtest.Pipeline{Ref: "nightly", Kind: "tag"}, tags: []string{"v*"}},
		{name: "a tag is no branch", pipeline: gitlabtest.Pipeline{Ref: "main", Kind: "tag"}, branches: []string{"main"}},
		{name: "a branch is no tag", pipeline: gitlabtest.Pipeline{Ref: "v1.0"}, tags: []string{"v*"}},
		{name: "merge request", pipeline: gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"},
			branches: []string{"main", "feature/*"}},
		{name: "merge request under a rule for everything",
			pipeline: gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"},
			branches: []string{"*"}, protected: true},
		{name: "old detached merge request, by its source branch",
			pipeline: gitlabtest.Pipeline{Ref: "main", Kind: "merge_request"}, branches: []string{"main"}, protected: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := filtered(t, map[string]any{"protected_branches_only": true}, "")
			w.Jobs[0].Pipeline = test.pipeline
			w.Projects[0].ProtectedBranches, w.Projects[0].ProtectedTags = test.branches, test.tags
			g := startInstance(t, w)
			if got := len(g.getAs(job, lookup).agents(t)) == 1; got != test.protected {
				t.Errorf("protected %v, want %v", got, test.protected)
			}
			g.mustUpdate(func(w *gitlabtest.Instance) { // unprotected while the job runs
				w.Projects[0].ProtectedBranches, w.Projects[0].ProtectedTags = nil, nil
			})
			if got := g.getAs(job, lookup).agents(t); len(got) != 0 {
				t.Error("still protected after the rule was removed")
			}
		})
	}
}

// TestFilters_Together has the rows of spec/services/clusters/agents/authorizations/ci_access/filter_service_spec.rb.
func TestFilters_Together(t *testing.T) {
	const (
		plain = iota + 1
		forProduction
		forReview
		productionProtected
		protectedOnly
	)
	configs := map[int64]string{
		plain:               "",
		forProduction:       ", environments: [production], protected_branches_only: false",
		forReview:           ", environments: ['review/*']",
		productionProtected: ", environments: [production], protected_branches_only: true",
		protectedOnly:       ", protected_branches_only: true",
	}
	tests := []struct {
		environment, ref string
		want             []int64
	}{
		{"production", "feature/x", []int64{plain, forProduction}},
		{"review/123", "feature/x", []int64{plain, forReview}},
		{"", "feature/x", []int64{plain}},
		{"production", "main", []int64{plain, forProduction, productionProtected, protectedOnly}},
		{"review/123", "main", []int64{plain, forReview, protectedOnly}},
		{"", "main", []int64{plain, protectedOnly}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("environment %q on %s", test.environment, test.ref), func(t *testing.T) {
			w := filtered(t, nil, test.environment)
			w.Jobs[0].Pipeline.Ref = test.ref
			w.Agents = nil
			for id := int64(plain); id <= protectedOnly; id++ {
				w.Agents = append(w.Agents, gitlabtest.Agent{
					ID: id, Name: fmt.Sprint("agent-", id), Project: agentProject,
					Config: entry("projects", "group1/group1-1/project1", configs[id]),
				})
			}
			if diff := cmp.Diff(test.want, ids(startInstance(t, w).getAs(job, lookup).agents(t))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
