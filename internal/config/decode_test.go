package config_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse_RefusesAnotherVersionOrKind(t *testing.T) {
	checkRefusals(t, []refusal{
		{
			"no apiVersion", "apiVersion: jobgate.io/v1alpha1\n", "",
			[]string{"1: apiVersion: is required: jobgate.io/v1alpha1"},
		},
		{
			"another apiVersion", "jobgate.io/v1alpha1", "jobgate.io/v2",
			[]string{`1: apiVersion: must be jobgate.io/v1alpha1, not "jobgate.io/v2"`},
		},
		{
			"another kind", "kind: Configuration", "kind: configuration",
			[]string{`2: kind: must be Configuration, not "configuration"`},
		},
	})
}

func TestParse_RefusesWhatTheSchemaHasNot(t *testing.T) {
	checkRefusals(t, []refusal{
		{"unknown key", "agents:", "frobnicate: true\nagents:", []string{"5: frobnicate: unknown key"}},
		{"key in another case", "url:", "URL:", []string{
			"3: gitlab.url: is required, for example https://gitlab.example.com",
			"4: gitlab.URL: unknown key",
		}},
		{"unknown key in a list", agent, agent + "  token: x\n", []string{"8: agents[0].token: unknown key"}},
		{"unknown key with a dot", agent, agent + "  a.b[0]: x\n", []string{"8: agents[0].a.b[0]: unknown key"}},
		{"duplicate key", agent, agent + agent, []string{"8: agents[0].name: duplicate key, first set on line 7"}},
		{
			"list for an object", "  url: " + url, "- " + url,
			[]string{"3: gitlab: must be an object, not a list"},
		},
		{"object for a list", "- id: 4\n" + agent, "  id: 4\n", []string{"5: agents: must be a list, not an object"}},
		{"string for an integer", "id: 4", `id: "4"`, []string{"6: agents[0].id: must be an integer, not a string"}},
		{"fraction for an integer", "id: 4", "id: 4.5", []string{"6: agents[0].id: must be an integer, not 4.5"}},
		{
			"integer of 64 bits", "id: 4", "id: 9223372036854775808",
			[]string{"6: agents[0].id: must be an integer, not 9223372036854775808"},
		},
		{
			"number for a string", agent, "  name: 4\n",
			[]string{"7: agents[0].name: must be a string, not 4: put it in quotes"},
		},
		{
			"string for a boolean", "agents:", "explainRejections: \"false\"\nagents:",
			[]string{"5: explainRejections: must be true or false, not a string"},
		},
		{
			"YAML 1.1 for a boolean", "agents:", "explainRejections: yes\nagents:",
			[]string{"5: explainRejections: must be true or false, not a string"},
		},
		{
			"infinity for a number", "agents:", "  rateLimit: {requestsPerSecond: .inf}\nagents:",
			[]string{"5: gitlab.rateLimit.requestsPerSecond: must be a number, not .inf"},
		},
		{
			"no number for a number", "agents:", "  rateLimit: {requestsPerSecond: .nan}\nagents:",
			[]string{"5: gitlab.rateLimit.requestsPerSecond: must be a number, not .nan"},
		},
		{
			"number for a duration", "agents:", "  timeout: 10\nagents:",
			[]string{"5: gitlab.timeout: must be a duration, such as 10s or 2m30s, not 10"},
		},
		{
			"text for a duration", "agents:", "  timeout: \"\"\nagents:",
			[]string{`5: gitlab.timeout: must be a duration, such as 10s or 2m30s, not ""`},
		},
		{
			"list for a duration", "agents:", "  timeout: [10s]\nagents:",
			[]string{"5: gitlab.timeout: must be a duration, such as 10s or 2m30s, not a list"},
		},
		{
			"string for a number", "agents:", "  rateLimit: {requestsPerSecond: many}\nagents:",
			[]string{"5: gitlab.rateLimit.requestsPerSecond: must be a number, not a string"},
		},
	})
}

// What the YAML language offers beyond objects, lists and scalars is refused; the rest of the file is still judged.
func TestParse_RefusesTheRestOfYAML(t *testing.T) {
	const star = ": put what begins with * in quotes"
	checkRefusals(t, []refusal{
		{
			"alias", agent, agent + "  impersonate: {users: &u [a], groups: *u}\n  id: 0\n",
			[]string{
				"8: agents[0].impersonate.groups: must not be an alias" + star,
				"9: agents[0].id: duplicate key, first set on line 6",
				"9: agents[0].id: must be at least 1, not 0",
			},
		},
		{
			"alias of what it is in", agent, agent + "  impersonate: {users: &u [*u]}\n",
			[]string{"8: agents[0].impersonate.users[0]: must not be an alias" + star},
		},
		{"merge key", agent, agent + "  <<: {id: 5}\n", []string{"8: agents[0]: must have only strings as keys"}},
		{"number as key", agent, agent + "  1: 2\n", []string{"8: agents[0]: must have only strings as keys"}},
		{"list as key", agent, agent + "  [name]: 2\n", []string{"8: agents[0]: must have only strings as keys"}},
		{
			"tag", agent, "  name: !!binary eA==\n",
			[]string{"7: agents[0].name: must not have a YAML tag"},
		},
	})
}

func TestParse_DoesNotFollowAliases(t *testing.T) {
	list := "&a0 [x,x,x,x,x,x,x,x,x]"
	for i := range 11 {
		list += fmt.Sprintf(", &a%d [%s]", i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	for _, problem := range problems(t, edit(t, agent, agent+"  impersonate: {users: ["+list+"]}\n")) {
		if !strings.Contains(problem, "must be a string, not a list") {
			t.Errorf("got %q", problem)
		}
	}
}

func TestParse_DoesNotJudgeWhatItCouldNotDecode(t *testing.T) {
	checkRefusals(t, []refusal{
		{
			"an agent that a restriction may mean", "id: 4\n" + agent,
			"id: four\nrestrictions:\n- {name: a, agents: [4], require: {projects: [1]}}\n",
			[]string{"6: agents[0].id: must be an integer, not a string"},
		},
		{
			"the only requirement", serving, "restrictions:\n- name: a\n  require: {projects: all}\n" + serving,
			[]string{"10: restrictions[0].require.projects: must be a list, not a string"},
		},
		{
			"an address", serving, serving + "  address: 9443\n",
			[]string{"9: serving.address: must be a string, not 9443: put it in quotes"},
		},
	})
}
