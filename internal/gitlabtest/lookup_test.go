package gitlabtest_test

import (
	"math"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestAllowedAgents_AnswersTheWholeEntityOfTheDocs(t *testing.T) {
	g := startInstance(t, example(`
ci_access:
  projects:
  - id: group1/group1-1/project1
    default_namespace: web
    environments: [prod, "review/*"]
    protected_branches_only: true
    access_as: {ci_job: {}}
    unknown: {number: 9223372036854775807}
`))
	got := g.getAs(job, lookup)
	if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %s, %s", got.Status, got.Header)
	}
	want := reply{body: `{
		"allowed_agents": [{
			"id": 4,
			"config_project": {
				"id": 7, "description": null, "name": "agents", "name_with_namespace": "group1 / agents",
				"path": "agents", "path_with_namespace": "group1/agents", "created_at": "2024-01-02T03:04:05.678Z"
			},
			"configuration": {
				"default_namespace": "web", "environments": ["prod", "review/*"], "protected_branches_only": true,
				"access_as": {"ci_job": {}}, "unknown": {"number": 9223372036854775807}
			}
		}],
		"job": {"id": 1001},
		"pipeline": {"id": 501},
		"project": {"id": 150, "groups": [{"id": 25}, {"id": 23}]},
		"user": {"id": 9, "username": "jdoe", "roles_in_project": ["guest", "planner", "reporter", "developer"]},
		"environment": {"tier": "production", "slug": "prod"}
	}`}
	if diff := cmp.Diff(want.decoded(t), got.decoded(t)); diff != "" {
		t.Error(diff)
	}
}

func TestAllowedAgents_SaysWhatTheJobIs(t *testing.T) {
	const big = int64(1)<<62 + 1
	tests := []struct {
		name   string
		change func(*gitlabtest.Instance)
		path   []string // keys into the answer
		want   string   // as JSON, or empty for a key that is not there
	}{
		{"no environment keyword", func(w *gitlabtest.Instance) { w.Jobs[0].Environment = "" }, []string{"environment"}, ""},
		{"an environment that is not persisted", func(w *gitlabtest.Instance) { w.Jobs[0].Environment = "other" },
			[]string{"environment"}, ""},
		{"an environment whose slug and tier the instance sets", func(w *gitlabtest.Instance) {
			w.Projects[0].Environments[0].Slug, w.Projects[0].Environments[0].Tier = "old-slug-x1", "other"
		}, []string{"environment"}, `{"slug": "old-slug-x1", "tier": "other"}`},
		{"a stopped environment", func(w *gitlabtest.Instance) { w.Projects[0].Environments[0].State = "stopped" },
			[]string{"environment"}, `{"slug": "prod", "tier": "production"}`},
		{"nested groups, nearest first", nil, []string{"project", "groups"}, `[{"id": 25}, {"id": 23}]`},
		{"a personal project", func(w *gitlabtest.Instance) { w.Projects[0].Group, w.Projects[0].Path = 0, "jdoe/project1" },
			[]string{"project", "groups"}, `[]`},
		{"no membership", func(w *gitlabtest.Instance) { w.Users[0].Access = nil },
			[]string{"user", "roles_in_project"}, `[]`},
		{"guest", func(w *gitlabtest.Instance) { w.Users[0].Access[project] = 10 },
			[]string{"user", "roles_in_project"}, `["guest"]`},
		{"owner", func(w *gitlabtest.Instance) { w.Users[0].Access[project] = 50 },
			[]string{"user", "roles_in_project"}, `["guest", "planner", "reporter", "developer", "maintainer", "owner"]`},
		{"a release without planner", func(w *gitlabtest.Instance) { w.Settings.OmitsPlanner = true },
			[]string{"user", "roles_in_project"}, `["guest", "reporter", "developer"]`},
		{"a release with one role more", func(w *gitlabtest.Instance) { w.Settings.ExtraRoles = []string{"security_manager"} },
			[]string{"user", "roles_in_project"}, `["guest", "planner", "reporter", "developer", "security_manager"]`},
		{"an extra role does not make a member", func(w *gitlabtest.Instance) {
			w.Settings.ExtraRoles, w.Users[0].Access = []string{"security_manager"}, nil
		}, []string{"user", "roles_in_project"}, `[]`},
		{"64-bit pipeline id", func(w *gitlabtest.Instance) { w.Jobs[0].Pipeline.ID = big },
			[]string{"pipeline", "id"}, `4611686018427387905`},
		{"pipeline id left out", func(w *gitlabtest.Instance) { w.Jobs[0].Pipeline.ID = 0 },
			[]string{"pipeline", "id"}, `1001`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example(openToProject)
			if test.change != nil {
				test.change(&w)
			}
			got := startInstance(t, w).getAs(job, lookup)
			if got.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", got.StatusCode, got.body)
			}
			value := got.decoded(t)
			for i, key := range test.path {
				fields, ok := value.(map[string]any)
				if !ok {
					t.Fatalf("nothing at %q: %s", test.path[:i], got.body)
				}
				next, found := fields[key]
				if !found && test.want == "" {
					return
				}
				value = next
			}
			if diff := cmp.Diff(reply{body: test.want}.decoded(t), value); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAllowedAgents_KeepsBigIDsExact(t *testing.T) {
	const big = int64(math.MaxInt64)
	w := example(openToProject)
	w.Agents[0].ID, w.Jobs[0].ID = big, big-2
	g := startInstance(t, w)
	got := g.getAs(big-2, lookup).agents(t)
	if diff := cmp.Diff([]listedAgent{{big, "{}"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAllowedAgents_CarriesTheFeatureFlagHeader(t *testing.T) {
	for _, flags := range []string{"", "one=true, two=false"} {
		t.Run("flags "+flags, func(t *testing.T) {
			w := example(openToProject)
			w.Settings.FeatureFlags = flags
			got := startInstance(t, w).getAs(job, lookup)
			if diff := cmp.Diff([]string{flags}, got.Header.Values("Gitlab-Feature-Flag")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAllowedAgents_SeesAnEndedJobAtOnce(t *testing.T) {
	g := startInstance(t, example(openToProject))
	token := g.token(job)
	if got := g.get(lookup, "JOB-TOKEN", token); got.StatusCode != http.StatusOK {
		t.Fatalf("running: status %d", got.StatusCode)
	}
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Job(job).Status = "success" })
	if got := g.get(lookup, "JOB-TOKEN", token); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("ended: status %d", got.StatusCode)
	}
}
