package gitlabtest_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// The tree of GitLab's own finder spec (spec/finders/clusters/agents/authorizations/ci_access/finder_spec.rb):
// top > subgroup1 > subgroup2 > bottom with the asking project at the bottom and the agents' project in subgroup1, and
// a group beside the ancestors.
const (
	asking         = 100
	inSubgroup1    = 101
	inNonAncestor  = 102
	inUnrelated    = 103
	askingPath     = "top/subgroup1/subgroup2/bottom/asking"
	bottomPath     = "top/subgroup1/subgroup2/bottom"
	productionID   = 1
	stagingID      = 2
	finderSpecUser = 5
)

func finderInstance(agents ...gitlabtest.Agent) gitlabtest.Instance {
	return gitlabtest.Instance{
		Groups: []gitlabtest.Group{
			{ID: 1, Path: "top"},
			{ID: 2, Parent: 1, Path: "top/subgroup1"},
			{ID: 3, Parent: 2, Path: "top/subgroup1/subgroup2"},
			{ID: 4, Parent: 3, Path: bottomPath},
			{ID: 5, Parent: 1, Path: "top/non-ancestor"},
			{ID: 6, Path: "unrelated"},
		},
		Projects: []gitlabtest.Project{
			{ID: asking, Group: 4, Path: askingPath},
			{ID: inSubgroup1, Group: 2, Path: "top/subgroup1/agents"},
			{ID: inNonAncestor, Group: 5, Path: "top/non-ancestor/agents"},
			{ID: inUnrelated, Group: 6, Path: "unrelated/agents"},
		},
		Users:  []gitlabtest.User{{ID: finderSpecUser, Username: "dev", Access: map[int64]int{asking: 30}}},
		Agents: agents,
		Jobs:   []gitlabtest.Job{{ID: job, Project: asking, User: finderSpecUser, Status: "running"}},
	}
}

// entry is a config.yaml with one entry.
func entry(kind, id, rest string) string {
	return fmt.Sprintf("ci_access: {%s: [{id: %s%s}]}", kind, id, rest)
}

func production(project int64, config string) gitlabtest.Agent {
	return gitlabtest.Agent{ID: productionID, Name: "production", Project: project, Config: config}
}

func staging(project int64, config string) gitlabtest.Agent {
	return gitlabtest.Agent{ID: stagingID, Name: "staging", Project: project, Config: config}
}

const (
	withAgent       = ", access_as: {agent: {}}"
	withCIJob       = ", access_as: {ci_job: {}}"
	withCIUser      = ", access_as: {ci_user: {}}"
	withImpersonate = ", access_as: {impersonate: {username: u}}"
	marked          = ", default_namespace: marked"
	instanceEntry   = "ci_access: {instance: {}}"
)

type finderRow struct {
	name   string
	agents []gitlabtest.Agent
	change func(*gitlabtest.Instance)
	want   []listedAgent
}

func (row finderRow) run(t *testing.T) {
	w := finderInstance(row.agents...)
	if row.change != nil {
		row.change(&w)
	}
	got := startInstance(t, w).getAs(job, lookup).agents(t)
	if diff := cmp.Diff(append([]listedAgent{}, row.want...), got); diff != "" {
		t.Error(diff)
	}
}

// TestFinder_FollowsTheSpec has one row per row of GitLab's spec, by its number. GitLab's finder can be asked for one
// agent, which the API never does: in those rows the other agent is one that must not be mixed up with it.
func TestFinder_FollowsTheSpec(t *testing.T) {
	project := func(home int64, rest string) gitlabtest.Agent {
		return production(home, entry("projects", askingPath, rest))
	}
	bottom := func(home int64, rest string) gitlabtest.Agent {
		return production(home, entry("groups", bottomPath, rest))
	}
	instance := func(w *gitlabtest.Instance) { w.Settings.OrganizationAuthorization = true }
	agents := func(a ...gitlabtest.Agent) []gitlabtest.Agent { return a }
	listed := func(a ...listedAgent) []listedAgent { return a }
	instanceAs := func(as string) gitlabtest.Agent {
		return production(inUnrelated, "ci_access: {instance: {access_as: {"+as+": {}}}}")
	}
	rows := []finderRow{
		{"1 project: agent in an unrelated root", agents(project(inUnrelated, "")), nil, nil},
		{"1 project: agent in an unrelated root, setting on", agents(project(inUnrelated, "")), instance,
			listed(listedAgent{productionID, "{}"})},
		{"2 project: agent in a non-ancestor of the same root", agents(project(inNonAncestor, "")), nil,
			listed(listedAgent{productionID, "{}"})},
		{"3 project: one authorization", agents(project(inSubgroup1, marked)), nil,
			listed(listedAgent{productionID, `{"default_namespace":"marked"}`})},
		{"4 project: beside implicit and group, only the project row", agents(production(asking,
			"ci_access: {projects: [{id: "+askingPath+marked+"}], groups: [{id: "+bottomPath+"}]}")), nil,
			listed(listedAgent{productionID, `{"default_namespace":"marked"}`})},
		{"5 project: two agents", agents(project(inSubgroup1, ""),
			staging(inSubgroup1, entry("projects", askingPath, ""))), nil,
			listed(listedAgent{productionID, "{}"}, listedAgent{stagingID, "{}"})},
		{"6 project: one agent of two", agents(project(inSubgroup1, marked), staging(inSubgroup1, "")), nil,
			listed(listedAgent{productionID, `{"default_namespace":"marked"}`})},
		{"7 project: access_as agent", agents(project(inSubgroup1, withAgent)), nil,
			listed(listedAgent{productionID, `{"access_as":{"agent":{}}}`})},
		{"8 project: access_as impersonate", agents(project(inSubgroup1, withImpersonate)), nil, nil},
		{"9 project: access_as ci_user", agents(project(inSubgroup1, withCIUser)), nil, nil},
		{"10 project: access_as ci_job", agents(project(inSubgroup1, withCIJob)), nil, nil},
		{"11 implicit: two agents", agents(production(asking, ""), staging(asking, "")), nil,
			listed(listedAgent{productionID, "{}"}, listedAgent{stagingID, "{}"})},
		{"12 implicit: one agent of two", agents(production(asking, ""), staging(inSubgroup1, "")), nil,
			listed(listedAgent{productionID, "{}"})},
		{"13 group: agent outside the hierarchy", agents(production(inUnrelated, entry("groups", "top", ""))), nil, nil},
		{"13 group: agent outside the hierarchy, setting on", agents(production(inUnrelated, entry("groups", "top", ""))),
			instance, listed(listedAgent{productionID, "{}"})},
		{"14 group: two agents", agents(bottom(inSubgroup1, ""), staging(inSubgroup1, entry("groups", bottomPath, ""))), nil,
			listed(listedAgent{productionID, "{}"}, listedAgent{stagingID, "{}"})},
		{"15 group: the nearest group", agents(production(inSubgroup1,
			"ci_access: {groups: [{id: top}, {id: "+bottomPath+marked+"}]}")), nil,
			listed(listedAgent{productionID, `{"default_namespace":"marked"}`})},
		{"16 group: agent in a non-ancestor", agents(bottom(inNonAncestor, "")), nil,
			listed(listedAgent{productionID, "{}"})},
		{"17 group: access_as agent", agents(bottom(inSubgroup1, withAgent)), nil,
			listed(listedAgent{productionID, `{"access_as":{"agent":{}}}`})},
		{"17 group: access_as impersonate", agents(bottom(inSubgroup1, withImpersonate)), nil, nil},
		{"17 group: access_as ci_user", agents(bottom(inSubgroup1, withCIUser)), nil, nil},
		{"17 group: access_as ci_job", agents(bottom(inSubgroup1, withCIJob)), nil, nil},
		{"18 group: one agent of two", agents(bottom(inSubgroup1, marked), staging(inSubgroup1, "")), nil,
			listed(listedAgent{productionID, `{"default_namespace":"marked"}`})},
		{"19 organization: two agents", agents(production(inUnrelated, instanceEntry), staging(inUnrelated, instanceEntry)),
			instance, listed(listedAgent{productionID, "{}"}, listedAgent{stagingID, "{}"})},
		{"20 organization: one agent of two", agents(production(inUnrelated, instanceEntry), staging(inUnrelated, "")),
			instance, listed(listedAgent{productionID, "{}"})},
		{"21 organization: another one", agents(production(inUnrelated, instanceEntry)), func(w *gitlabtest.Instance) {
			instance(w)
			w.Project(inUnrelated).Organization = 2
		}, nil},
		{"22 organization: access_as agent", agents(instanceAs("agent")), instance,
			listed(listedAgent{productionID, `{"access_as":{"agent":{}}}`})},
		{"22 organization: access_as impersonate", agents(instanceAs("impersonate")), instance, nil},
		{"22 organization: access_as ci_user", agents(instanceAs("ci_user")), instance, nil},
		{"22 organization: access_as ci_job", agents(instanceAs("ci_job")), instance, nil},
		{"23 organization: setting off", agents(production(inUnrelated, instanceEntry)), nil, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.run)
	}
}

func TestFinder_BeyondTheSpec(t *testing.T) {
	personal := func(w *gitlabtest.Instance) {
		w.Projects[0].Group, w.Projects[0].Path = 0, "dev/asking"
		w.Project(inSubgroup1).Group, w.Project(inSubgroup1).Path = 0, "dev/agents"
		w.Project(inUnrelated).Group, w.Project(inUnrelated).Path = 0, "someone/agents"
	}
	toPersonal := entry("projects", "dev/asking", marked)
	rows := []finderRow{
		{"order: project, implicit, group by agent id, organization", []gitlabtest.Agent{
			{ID: 14, Name: "instance", Project: inUnrelated, Config: instanceEntry},
			{ID: 13, Name: "group-b", Project: inSubgroup1, Config: entry("groups", bottomPath, "")},
			{ID: 12, Name: "group-a", Project: inSubgroup1, Config: entry("groups", "top", "")},
			{ID: 11, Name: "own", Project: asking},
			{ID: 10, Name: "project", Project: inSubgroup1, Config: entry("projects", askingPath, "")},
		}, func(w *gitlabtest.Instance) { w.Settings.OrganizationAuthorization = true },
			[]listedAgent{{10, "{}"}, {11, "{}"}, {12, "{}"}, {13, "{}"}, {14, "{}"}}},
		{"a job's project without agents", nil, nil, nil},
		{"the user's role does not count", []gitlabtest.Agent{production(asking, "")},
			func(w *gitlabtest.Instance) { w.Users[0].Access = nil }, []listedAgent{{productionID, "{}"}}},
		{"a personal project and an agent of the same namespace", []gitlabtest.Agent{production(inSubgroup1, toPersonal)},
			personal, []listedAgent{{productionID, `{"default_namespace":"marked"}`}}},
		{"a personal project and an agent of another namespace", []gitlabtest.Agent{production(inUnrelated, toPersonal)},
			personal, nil},
		{"a personal project and an agent of a group", []gitlabtest.Agent{production(inNonAncestor, toPersonal)},
			personal, nil},
		{"a personal project has no group rows", []gitlabtest.Agent{production(inNonAncestor, entry("groups", "top", ""))},
			personal, nil},
		{"before 18.1 the setting opens no other hierarchy to project and group rows", []gitlabtest.Agent{
			production(inUnrelated, "ci_access: {projects: [{id: "+askingPath+"}], groups: [{id: top}]}"),
		}, func(w *gitlabtest.Instance) {
			w.Settings.OrganizationAuthorization, w.Settings.Release = true, "18.0"
		}, nil},
		{"the setting opens no other organization to project and group rows", []gitlabtest.Agent{
			production(inUnrelated, "ci_access: {projects: [{id: "+askingPath+"}], groups: [{id: top}]}"),
		}, func(w *gitlabtest.Instance) {
			w.Settings.OrganizationAuthorization, w.Project(inUnrelated).Organization = true, 2
		}, nil},
		{"with the setting a personal project may use an agent of a group", []gitlabtest.Agent{
			production(inNonAncestor, toPersonal),
		}, func(w *gitlabtest.Instance) {
			personal(w)
			w.Settings.OrganizationAuthorization = true
		}, []listedAgent{{productionID, `{"default_namespace":"marked"}`}}},
		{"a project row is more specific than the organization", []gitlabtest.Agent{production(inSubgroup1,
			"ci_access: {projects: [{id: "+askingPath+marked+"}], instance: {}}")},
			func(w *gitlabtest.Instance) { w.Settings.OrganizationAuthorization = true },
			[]listedAgent{{productionID, `{"default_namespace":"marked"}`}}},
		{"an own-project entry that fails the filter is not replaced by the implicit one", []gitlabtest.Agent{
			production(asking, entry("projects", askingPath, ", environments: [production]"))}, nil, nil},
		{"a project entry that fails the filter is not replaced by a group's", []gitlabtest.Agent{production(inSubgroup1,
			"ci_access: {projects: [{id: "+askingPath+", environments: [production]}], groups: [{id: top}]}")}, nil, nil},
		{"a nearer group that fails the filter is not replaced by a farther one", []gitlabtest.Agent{production(inSubgroup1,
			"ci_access: {groups: [{id: "+bottomPath+", protected_branches_only: true}, {id: top}]}")}, nil, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.run)
	}
}

func TestLicence_DropsEntriesBeforeTheMostSpecificIsChosen(t *testing.T) {
	tests := []struct {
		name              string
		agent             gitlabtest.Agent
		licensed, without []listedAgent
	}{
		{"own project falls back to implicit full access",
			production(asking, entry("projects", askingPath, withCIJob)),
			[]listedAgent{{productionID, `{"access_as":{"ci_job":{}}}`}}, []listedAgent{{productionID, "{}"}}},
		{"nearer group falls back to the farther one",
			production(inSubgroup1, "ci_access: {groups: [{id: "+bottomPath+withCIJob+"}, {id: top"+marked+"}]}"),
			[]listedAgent{{productionID, `{"access_as":{"ci_job":{}}}`}},
			[]listedAgent{{productionID, `{"default_namespace":"marked"}`}}},
		{"nothing is left", production(inSubgroup1, entry("groups", "top", withImpersonate)),
			[]listedAgent{{productionID, `{"access_as":{"impersonate":{"username":"u"}}}`}}, nil},
		{"ci_user", production(inSubgroup1, entry("groups", "top", withCIUser)),
			[]listedAgent{{productionID, `{"access_as":{"ci_user":{}}}`}}, nil},
		{"agent needs none", production(inSubgroup1, entry("groups", "top", withAgent)),
			[]listedAgent{{productionID, `{"access_as":{"agent":{}}}`}},
			[]listedAgent{{productionID, `{"access_as":{"agent":{}}}`}}},
		{"an empty access_as needs none", production(inSubgroup1, entry("groups", "top", ", access_as: {}")),
			[]listedAgent{{productionID, `{"access_as":{}}`}}, []listedAgent{{productionID, `{"access_as":{}}`}}},
		{"a null access_as needs none", production(inSubgroup1, entry("groups", "top", ", access_as: null")),
			[]listedAgent{{productionID, `{"access_as":null}`}}, []listedAgent{{productionID, `{"access_as":null}`}}},
		{"agent beside another mode is enough",
			production(inSubgroup1, entry("groups", "top", ", access_as: {agent: {}, ci_job: {}}")),
			[]listedAgent{{productionID, `{"access_as":{"agent":{},"ci_job":{}}}`}},
			[]listedAgent{{productionID, `{"access_as":{"agent":{},"ci_job":{}}}`}}},
		{"an unknown mode is dropped either way",
			production(inSubgroup1, entry("groups", "top", ", access_as: {robot: {}}")), nil, nil},
		{"a mode as text counts as jsonb has it",
			production(inSubgroup1, entry("groups", "top", ", access_as: agent")),
			[]listedAgent{{productionID, `{"access_as":"agent"}`}}, []listedAgent{{productionID, `{"access_as":"agent"}`}}},
		{"a list of modes counts as jsonb has it",
			production(inSubgroup1, entry("groups", "top", ", access_as: [ci_job]")),
			[]listedAgent{{productionID, `{"access_as":["ci_job"]}`}}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, licensed := range []bool{true, false} {
				row := finderRow{agents: []gitlabtest.Agent{test.agent}, want: test.without}
				if licensed {
					row.want = test.licensed
					row.change = func(w *gitlabtest.Instance) { w.Settings.Licensed = true }
				}
				t.Run(fmt.Sprintf("licensed %v", licensed), row.run)
			}
		})
	}
}
