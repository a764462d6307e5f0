package config_test

import "testing"

func TestParse_RefusesAnotherVersionOrKind(t *testing.T) {
	checkRefusals(t, []refusal{
		{
			"no apiVersion", "apiVersion: jobgate.io/v1alpha1\n", "",
			[]string{"1: apiVersion: required value: must be jobgate.io/v1alpha1"},
		},
		{
			"another apiVersion", "jobgate.io/v1alpha1", "jobgate.io/v2",
			[]string{`1: apiVersion: unsupported value: "jobgate.io/v2": supported values: "jobgate.io/v1alpha1"`},
		},
		{
			"another kind", "kind: Configuration", "kind: configuration",
			[]string{`2: kind: unsupported value: "configuration": supported values: "Configuration"`},
		},
	})
}

func TestParse_RefusesWhatTheSchemaHasNot(t *testing.T) {
	checkRefusals(t, []refusal{
		{"unknown key", "agents:", "frobnicate: true\nagents:", []string{"5: frobnicate: unknown key"}},
		{"key in another case", "url:", "URL:", []string{
			"3: gitlab.url: required value: the address of the GitLab instance, as in https://gitlab.example.com",
			"4: gitlab.URL: unknown key",
		}},
		{"unknown key in a list", agent, agent + "  token: x\n", []string{"8: agents[0].token: unknown key"}},
		{"unknown key with a dot", agent, agent + "  a.b[0]: x\n", []string{"8: agents[0].a.b[0]: unknown key"}},
		{"duplicate key", agent, agent + agent, []string{"8: agents[0].name: duplicate key, first set on line 7"}},
		{
			"duplicate key in an unknown key", "agents:", "x: {y: {z: 1, z: 2}}\nagents:",
			[]string{"5: x: unknown key", "5: x.y.z: duplicate key, first set on line 5"},
		},
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
		{"number for a string", agent, "  name: 4\n", []string{"7: agents[0].name: must be a string, not a number"}},
		{
			"string for a boolean", "agents:", "explainRejections: \"false\"\nagents:",
			[]string{"5: explainRejections: must be a boolean, not a string"},
		},
		{
			"string for a number", "agents:", "  rateLimit: {requestsPerSecond: many}\nagents:",
			[]string{"5: gitlab.rateLimit.requestsPerSecond: must be a number, not a string"},
		},
	})
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
			[]string{"9: serving.address: must be a string, not a number"},
		},
	})
}
