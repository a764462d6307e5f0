package gitlab_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// minimal has everything that a reply must have, and nothing else.
const minimal = `{"job":{"id":1},"pipeline":{"id":2},"project":{"id":3},"user":{"id":4,"username":"u"}}`

func with(change ...string) string { return strings.NewReplacer(change...).Replace(minimal) }

// agents is minimal with these entries.
func agents(entries string) string { return with(`{"job"`, `{"allowed_agents":[`+entries+`],"job"`) }

func TestParseAllowedAgents(t *testing.T) {
	base := gitlab.AllowedAgents{JobID: 1, PipelineID: 2, ProjectID: 3, UserID: 4, Username: "u"}
	rows := []struct {
		name string
		body string
		want func(*gitlab.AllowedAgents) // nil: the reply is unusable
	}{
		{"minimal", minimal, func(*gitlab.AllowedAgents) {}},
		{"unknown fields", with(`{"job"`, `{"new":[1,{"a":null}],"job"`, `{"id":1}`, `{"id":1,"status":"running"}`), func(*gitlab.AllowedAgents) {}},
		{"environment null", with(`{"job"`, `{"environment":null,"job"`), func(*gitlab.AllowedAgents) {}},
		{"unknown tier", with(`{"job"`, `{"environment":{"slug":"a","tier":"moon-base"},"job"`), func(a *gitlab.AllowedAgents) {
			a.Environment = &gitlab.Environment{Slug: "a", Tier: "moon-base"}
		}},
		{"agents without usable id are dropped", agents(`null,{},{"id":0},{"id":-1},{"id":"5"},[],{"id":5}`), func(a *gitlab.AllowedAgents) {
			a.Agents = []gitlab.AllowedAgent{{ID: 5}}
		}},
		{"agent with a broken config project is kept without one", agents(`{"id":5,"config_project":[]},{"id":6,"config_project":{"id":-7}}`), func(a *gitlab.AllowedAgents) {
			a.Agents = []gitlab.AllowedAgent{{ID: 5}, {ID: 6}}
		}},
		{"agent whose config project's path is no name is kept without it", agents(`{"id":5,"config_project":{"id":7,"path_with_namespace":["a"]}},{"id":6,"config_project":{"id":8,"path_with_namespace":"` + strings.Repeat("a", 1025) + `"}}`), func(a *gitlab.AllowedAgents) {
			a.Agents = []gitlab.AllowedAgent{{ID: 5, ConfigProjectID: 7}, {ID: 6, ConfigProjectID: 8}}
		}},
		{"agent listed twice counts once, as it is listed first", agents(`{"id":5,"config_project":{"id":7}},{"id":5,"config_project":{"id":8}}`), func(a *gitlab.AllowedAgents) {
			a.Agents = []gitlab.AllowedAgent{{ID: 5, ConfigProjectID: 7}}
		}},
		{"agent with its id behind the rest", agents(`{"configuration":{"a": [1, "b"]},"config_project":{"path_with_namespace":"a/b","id":7},"id":5}`), func(a *gitlab.AllowedAgents) {
			a.Agents = []gitlab.AllowedAgent{{ID: 5, ConfigProjectID: 7, ConfigProjectPath: "a/b", Configuration: []byte(`{"a":[1,"b"]}`)}}
		}},
		{"configuration larger than 64 KiB is not kept",
			agents(`{"id":5,"configuration":{"a":"` + strings.Repeat("a", 64<<10) + `"}},{"id":6,"configuration":{}}`), func(a *gitlab.AllowedAgents) {
				a.Agents = []gitlab.AllowedAgent{{ID: 5, TooLarge: true}, {ID: 6, Configuration: []byte(`{}`)}}
			}},
		{"no list of agents", with(`{"job"`, `{"allowed_agents":null,"job"`), func(*gitlab.AllowedAgents) {}},
		{"largest id", with(`"id":3`, `"id":9223372036854775807`), func(a *gitlab.AllowedAgents) { a.ProjectID = 9223372036854775807 }},

		{"no job", with(`"job":{"id":1},`, ``), nil},
		{"job id 0", with(`"id":1`, `"id":0`), nil},
		{"negative pipeline id", with(`"id":2`, `"id":-2`), nil},
		{"project without id", with(`{"id":3}`, `{}`), nil},
		{"user id as text", with(`"id":4`, `"id":"4"`), nil},
		{"fractional id", with(`"id":3`, `"id":3.5`), nil},
		{"id too large", with(`"id":3`, `"id":9223372036854775808`), nil},
		{"empty user name", with(`"u"`, `""`), nil},
		{"names in other case do not count", with(`"job"`, `"Job"`), nil},
		{"group id 0", with(`"project":{"id":3}`, `"project":{"id":3,"groups":[{"id":0}]}`), nil},
		{"empty environment", with(`{"job"`, `{"environment":{},"job"`), nil},
		{"slug that would forge a group", with(`{"job"`, `{"environment":{"slug":"prod:production","tier":"other"},"job"`), nil},
		{"tier that is no label", with(`{"job"`, `{"environment":{"slug":"prod","tier":"Production"},"job"`), nil},
		{"slug too long", with(`{"job"`, `{"environment":{"slug":"`+strings.Repeat("a", 64)+`","tier":"other"},"job"`), nil},
		{"agents that are no list", with(`{"job"`, `{"allowed_agents":{},"job"`), nil},
		{"job twice", with(`{"job"`, `{"job":{"id":9},"job"`), nil},
		{"agents twice", agents(`],"allowed_agents":[`), nil},
		{"agents without end", `{"job":{"id":1},"allowed_agents":[{"id":5}`, nil},
		{"agent without end", `{"job":{"id":1},"allowed_agents":[{"id":5`, nil},
		{"no end", strings.TrimSuffix(minimal, "}"), nil},
		{"array", `[]`, nil},
		{"null", `null`, nil},
		{"trailing data", minimal + `{}`, nil},
		{"empty", ``, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := gitlab.ParseAllowedAgents([]byte(row.body))
			if row.want == nil {
				if err == nil {
					t.Fatalf("no error, reply is %+v", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := base
			row.want(&want)
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("reply (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaultNamespace(t *testing.T) {
	rows := []struct {
		name, configuration, want string
	}{
		{"given", `{"default_namespace":"web","access_as":{"ci_job":{}}}`, "web"},
		{"none", `{"access_as":{"ci_job":{}}}`, ""},
		{"null", `{"default_namespace":null}`, ""},
		{"no text", `{"default_namespace":7}`, ""},
		{"no configuration", ``, ""},
		{"a list for a configuration", `[]`, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			agent := gitlab.AllowedAgent{ID: 4, Configuration: []byte(row.configuration)}
			if got := agent.DefaultNamespace(); got != row.want {
				t.Errorf("default namespace is %q, want %q", got, row.want)
			}
		})
	}
}

func TestParseConfiguration(t *testing.T) {
	asAgent := job.Configuration{AccessAs: job.AsAgent}
	rows := []struct {
		name string
		raw  string
		want *job.Configuration // nil: unusable
	}{
		{"absent", ``, &asAgent},
		{"null", `null`, &asAgent},
		{"empty", `{}`, &asAgent},
		{"access_as null", `{"access_as":null}`, &asAgent},
		{"access_as empty", `{"access_as":{}}`, &asAgent},
		{"agent", `{"access_as":{"agent":{}}}`, &asAgent},
		{"only default_namespace", `{"default_namespace":"web"}`, &asAgent},
		{"access_as in other case is another key", `{"Access_As":{"ci_job":{}}}`, &asAgent},
		{"ci_job", `{"access_as":{"ci_job":{}}}`, &job.Configuration{AccessAs: job.AsCIJob}},
		{"ci_job with options of a later release", `{"access_as":{"ci_job":{"x":1}}}`, &job.Configuration{AccessAs: job.AsCIJob}},
		{"impersonate", `{"access_as":{"impersonate":{"username":"user1","groups":["g1","g2"],"uid":"uid","extra":[{"key":"k1","val":["v1","v2"]}]}}}`,
			&job.Configuration{AccessAs: job.AsImpersonated, Impersonate: job.Impersonate{
				Username: "user1", UID: "uid", Groups: []string{"g1", "g2"}, Extra: []job.ExtraKey{{Key: "k1", Values: []string{"v1", "v2"}}},
			}}},
		{"restrictions", `{"environments":["production","review/*",null,""],"protected_branches_only":true}`,
			&job.Configuration{AccessAs: job.AsAgent, Environments: []string{"production", "review/*", "", ""}, ProtectedBranchesOnly: true}},
		{"environments that restrict nothing", `{"environments":""}`, &asAgent},
		{"protected_branches_only false", `{"protected_branches_only":false}`, &asAgent},
		{"protected_branches_only null", `{"protected_branches_only":null}`, &asAgent},
		{"protected_branches_only as Ruby reads the text false", `{"protected_branches_only":"false"}`, &job.Configuration{AccessAs: job.AsAgent, ProtectedBranchesOnly: true}},
		{"protected_branches_only as Ruby reads 0", `{"protected_branches_only":0}`, &job.Configuration{AccessAs: job.AsAgent, ProtectedBranchesOnly: true}},

		{"two modes", `{"access_as":{"agent":{},"ci_job":{}}}`, nil},
		{"unknown mode", `{"access_as":{"ci_user":{}}}`, nil},
		{"mode in other case", `{"access_as":{"CI_JOB":{}}}`, nil},
		{"ci_job null", `{"access_as":{"ci_job":null}}`, nil},
		{"agent null", `{"access_as":{"agent":null}}`, nil},
		{"agent true", `{"access_as":{"agent":true}}`, nil},
		{"access_as a text", `{"access_as":"ci_job"}`, nil},
		{"access_as a list", `{"access_as":["ci_job"]}`, nil},
		{"impersonate without user", `{"access_as":{"impersonate":{}}}`, nil},
		{"impersonate a blank user", `{"access_as":{"impersonate":{"username":" "}}}`, nil},
		{"impersonate an empty group", `{"access_as":{"impersonate":{"username":"u","groups":[""]}}}`, nil},
		{"impersonate groups not a list", `{"access_as":{"impersonate":{"username":"u","groups":"g"}}}`, nil},
		{"impersonate an extra without key", `{"access_as":{"impersonate":{"username":"u","extra":[{"val":["v"]}]}}}`, nil},
		{"impersonate an extra without values", `{"access_as":{"impersonate":{"username":"u","extra":[{"key":"k"}]}}}`, nil},
		{"environments a text", `{"environments":"production"}`, nil},
		{"environments of numbers", `{"environments":[1]}`, nil},
		{"a list", `[]`, nil},
		{"too large", `{"x":"` + strings.Repeat("a", 64<<10) + `"}`, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			agent := gitlab.AllowedAgent{ID: 4, Configuration: []byte(row.raw)}
			got, err := agent.ParseConfiguration()
			if row.want == nil {
				if !errors.Is(err, job.ErrConfiguration) {
					t.Fatalf("error is %v, want ErrConfiguration", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParseAllowedAgents: whatever is accepted, an identity can be made of.
func FuzzParseAllowedAgents(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(with(`{"job"`, `{"environment":{"slug":"prod","tier":"production"},"allowed_agents":[{"id":4,"config_project":{"id":7},"configuration":{"access_as":{"ci_job":{}}}}],"job"`)))
	f.Add([]byte(agents(`{"id":4,"config_project":{"id":7},"configuration":{"access_as":{"impersonate":{"username":"u","extra":[{"key":"k","val":["v"]}]}}}}`)))
	f.Add([]byte(`{"message":"401 Unauthorized"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := gitlab.ParseAllowedAgents(body)
		if err != nil {
			return
		}
		if a.JobID <= 0 || a.PipelineID <= 0 || a.ProjectID <= 0 || a.UserID <= 0 || a.Username == "" {
			t.Errorf("incomplete: %+v", a)
		}
		if e := a.Environment; e != nil && strings.ContainsAny(e.Slug+e.Tier, ": ,\n") {
			t.Errorf("environment %q %q could forge a group", e.Slug, e.Tier)
		}
		for _, agent := range a.Agents {
			if agent.ID <= 0 || agent.ConfigProjectID < 0 {
				t.Errorf("agent %+v", agent)
			}
			c, err := agent.ParseConfiguration()
			if err != nil && !errors.Is(err, job.ErrConfiguration) {
				t.Errorf("error %v does not wrap ErrConfiguration", err)
			}
			if err == nil && (c.AccessAs == job.AsImpersonated) != (c.Impersonate.Username != "") {
				t.Errorf("mode %d with user %q", c.AccessAs, c.Impersonate.Username)
			}
		}
	})
}
