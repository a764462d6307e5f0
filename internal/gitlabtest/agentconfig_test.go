package gitlabtest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestAgentConfig_IsReadAsRefreshServiceDoes(t *testing.T) {
	other := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "  - id: group1/other-%d\n", i)
		}
		return b.String()
	}
	const path = "group1/group1-1/project1"
	marked := []listedAgent{{agent, `{"default_namespace":"marked"}`}}
	tests := []struct {
		name, config string
		want         []listedAgent
	}{
		{"nothing", "", nil},
		{"null", "null", nil},
		{"another section", "observability: {logging: {level: debug}}", nil},
		{"null section", "ci_access:", nil},
		{"null lists", "ci_access: {projects: , groups: }", nil},
		{"the entry without its id", "ci_access: {projects: [{id: " + path + ", default_namespace: marked}]}", marked},
		{"unknown keys are kept", "ci_access: {projects: [{id: " + path + ", annotations: {a: [1, 2.5, null]}}]}",
			[]listedAgent{{agent, `{"annotations":{"a":[1,2.5,null]}}`}}},
		{"ids in another case", "ci_access: {projects: [{id: Group1/GROUP1-1/Project1}]}", []listedAgent{{agent, "{}"}}},
		{"group ids in another case", "ci_access: {groups: [{id: GROUP1}]}", []listedAgent{{agent, "{}"}}},
		{"the last of two entries", "ci_access: {projects: [{id: " + path + "}, {id: " + path +
			", default_namespace: marked}]}", marked},
		{"the last of two entries in different case", "ci_access: {projects: [{id: " + path +
			"}, {id: GROUP1/group1-1/project1, default_namespace: marked}]}", marked},
		{"an unknown path", "ci_access: {projects: [{id: group1/nothing}], groups: [{id: nothing}]}", nil},
		{"a group's path among the projects", "ci_access: {projects: [{id: group1}]}", nil},
		{"a project's path among the groups", "ci_access: {groups: [{id: " + path + "}]}", nil},
		{"project in the singular", "ci_access: {project: [{id: " + path + "}]}", nil},
		{"group in the singular", "ci_access: {group: [{id: group1}]}", nil},
		{"instance without the setting", "ci_access: {instance: {}}", nil},
		{"the 500th entry", "ci_access:\n  projects:\n" + other(499) + "  - id: " + path + "\n",
			[]listedAgent{{agent, "{}"}}},
		{"the 501st entry", "ci_access:\n  projects:\n" + other(500) + "  - id: " + path + "\n", nil},
		{"the 501st entry does not replace an earlier one", "ci_access:\n  projects:\n  - {id: " + path +
			", default_namespace: marked}\n" + other(499) + "  - id: " + path + "\n", marked},
		{"groups have a limit of their own", "ci_access:\n  projects:\n" + other(500) + "  groups:\n  - id: group1\n",
			[]listedAgent{{agent, "{}"}}},
		{"the 501st group", "ci_access:\n  groups:\n" + other(500) + "  - id: group1\n", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := startInstance(t, example(test.config)).getAs(job, lookup).agents(t)
			if diff := cmp.Diff(append([]listedAgent{}, test.want...), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAgentConfig_InstanceNeedsThatItIsThere(t *testing.T) {
	tests := []struct {
		name, config string
		want         []listedAgent
	}{
		{"empty", "ci_access: {instance: {}}", []listedAgent{{agent, "{}"}}},
		{"with a configuration", "ci_access: {instance: {default_namespace: marked}}",
			[]listedAgent{{agent, `{"default_namespace":"marked"}`}}},
		{"null", "ci_access: {instance: }", nil},
		{"absent", "ci_access: {}", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example(test.config)
			w.Settings.OrganizationAuthorization = true
			got := startInstance(t, w).getAs(job, lookup).agents(t)
			if diff := cmp.Diff(append([]listedAgent{}, test.want...), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAgentConfig_ThatKASRefusesFailsTheUpdate(t *testing.T) {
	tests := []struct{ name, config string }{
		{"bad YAML", "ci_access: [}"},
		{"a list for the section", "ci_access: []"},
		{"no list", "ci_access: {projects: {id: x}}"},
		{"an entry that is no mapping", "ci_access: {projects: [x]}"},
		{"an entry without id", "ci_access: {groups: [{default_namespace: x}]}"},
		{"an empty id", "ci_access: {groups: [{id: ''}]}"},
		{"an id that is no text", "ci_access: {groups: [{id: 5}]}"},
		{"an instance that is no mapping", "ci_access: {instance: true}"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := startInstance(t, example(openToProject))
			if err := g.Update(func(w *gitlabtest.Instance) { w.Agent(agent).Config = test.config }); err == nil {
				t.Error("the update was accepted")
			}
			if got := g.getAs(job, lookup).agents(t); len(got) != 1 {
				t.Errorf("the refused update has changed the lookup: %v", got)
			}
		})
	}
}

func TestAgentConfig_FollowsEveryUpdate(t *testing.T) {
	g := startInstance(t, example(""))
	expect := func(when string, want ...int64) {
		t.Helper()
		if diff := cmp.Diff(append([]int64{}, want...), ids(g.getAs(job, lookup).agents(t))); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	expect("without configuration")
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Agent(agent).Config = openToProject })
	expect("configured", agent)
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Project(project).Path = "group1/group1-1/renamed" })
	expect("project renamed")
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Project(project).Path = "group1/group1-1/project1" })
	expect("project renamed back", agent)
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Agents = nil })
	expect("agent removed")
}
