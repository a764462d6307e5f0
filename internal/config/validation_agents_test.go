package config_test

import (
	"strings"
	"testing"
)

func TestParse_RefusesBadAgents(t *testing.T) {
	const reserved = "must not be under agent.gitlab.com, jobgate.io, kubernetes.io or a subdomain of one"
	checkRefusals(t, []refusal{
		{"no agents", "- id: 4\n" + agent, "", []string{"5: agents: must have at least one agent, or grants at least one grant"}},
		{"no agent id", "id: 4\n  name", "name", []string{"6: agents[0].id: is required, for example 4"}},
		{"negative agent id", "id: 4", "id: -4", []string{"6: agents[0].id: must be at least 1, not -4"}},
		{"two agents with one id", agent, agent + "- id: 4\n", []string{"8: agents[1].id: duplicate value: 4"}},
		{
			"agent name without a project", "path/to/agent/project:", ":",
			[]string{`7: agents[0].name: must be as in path/to/project:agent-name, not ":agent-name"`},
		},
		{
			"agent name without a name", "path/to/agent/project:agent-name", "\"path/to/agent/project:\"",
			[]string{`7: agents[0].name: must be as in path/to/project:agent-name, not "path/to/agent/project:"`},
		},
		{
			"agent name with two colons", ":agent-name", ":a:b",
			[]string{`7: agents[0].name: must be as in path/to/project:agent-name, not "path/to/agent/project:a:b"`},
		},
		{
			"agent name with a blank", ":agent-name", ":agent name",
			[]string{
				`7: agents[0].name: must be as in path/to/project:agent-name, not "path/to/agent/project:agent name"`,
			},
		},
		{
			"service account without a name", agent, agent + "  serviceAccount:\n    namespace: deploy\n",
			[]string{"8: agents[0].serviceAccount.name: must have both a namespace and a name, or neither"},
		},
		{
			"service account without a namespace", agent, agent + "  serviceAccount:\n    name: deploy\n",
			[]string{"8: agents[0].serviceAccount.namespace: must have both a namespace and a name, or neither"},
		},
		{
			"blank impersonation", agent,
			agent + "  impersonate:\n    users: [\"\"]\n    groups: [a, \" \"]\n    uids: [null]\n",
			[]string{
				`9: agents[0].impersonate.users[0]: must not be blank: ""`,
				`10: agents[0].impersonate.groups[1]: must not be blank: " "`,
				`11: agents[0].impersonate.uids[0]: must not be blank: ""`,
			},
		},
		{
			"* inside an entry", agent, agent + "  impersonate:\n    uids: [\"*a\"]\n    groups:\n    - a\n    - b**\n",
			[]string{
				`9: agents[0].impersonate.uids[0]: must have * only at its end, not "*a"`,
				`12: agents[0].impersonate.groups[1]: must have * only at its end, not "b**"`,
			},
		},
		{
			"reserved extra keys", agent, agent + "  impersonate:\n    extraKeys:\n    - agent.gitlab.com/id\n" +
				"    - jobgate.io/*\n    - x.Kubernetes.io/a\n    - \"*kubernetes.io/b\"\n    - kubernetes.io.example.com/a\n",
			[]string{
				`10: agents[0].impersonate.extraKeys[0]: ` + reserved + `: "agent.gitlab.com/id"`,
				`11: agents[0].impersonate.extraKeys[1]: ` + reserved + `: "jobgate.io/*"`,
				`12: agents[0].impersonate.extraKeys[2]: ` + reserved + `: "x.Kubernetes.io/a"`,
				`13: agents[0].impersonate.extraKeys[3]: must have * only at its end, not "*kubernetes.io/b"`,
			},
		},
	})
}

func TestParse_RefusesBadRestrictions(t *testing.T) {
	checkRefusals(t, []refusal{
		{
			"restriction without a name", serving, "restrictions:\n- require: {protectedRef: true}\n" + serving,
			[]string{"9: restrictions[0].name: is required, for example production"},
		},
		{
			"restrictions with one name", serving, "restrictions:\n- {name: a, require: {projects: [1]}}\n" +
				"- {name: a, require: {projects: [1]}}\n" + serving,
			[]string{`10: restrictions[1].name: duplicate value: "a"`},
		},
		{
			"restriction without a requirement", serving,
			"restrictions:\n- name: a\n  require: {protectedRef: false, roles: []}\n" + serving,
			[]string{"10: restrictions[0].require: must have at least one requirement"},
		},
		{
			"restriction of an unknown agent", serving,
			"restrictions:\n- name: a\n  agents: [4, 5]\n  require: {projects: [1]}\n" + serving,
			[]string{"10: restrictions[0].agents[1]: must be the id of a configured agent, not 5"},
		},
		{
			"blank filters", serving, "restrictions:\n- name: a\n  namespaces: [\"\"]\n  verbs: [\"\"]\n" +
				"  apiGroups: [\"\", \" \"]\n  resources: [\"\"]\n  require: {projects: [1]}\n" + serving,
			[]string{
				`10: restrictions[0].namespaces[0]: must not be blank: ""`,
				`11: restrictions[0].verbs[0]: must not be blank: ""`,
				`12: restrictions[0].apiGroups[1]: must be "" for the core group, not " "`,
				`13: restrictions[0].resources[0]: must not be blank: ""`,
			},
		},
		{
			"bad requirements", serving, "restrictions:\n- name: a\n  require:\n    environments: [\"\"]\n" +
				"    environmentTiers: [prod]\n    projects: [0]\n    groups: [-1]\n    roles: [\" \"]\n" + serving,
			[]string{
				`11: restrictions[0].require.environments[0]: must not be blank: ""`,
				`12: restrictions[0].require.environmentTiers[0]: ` +
					`must be one of production, staging, testing, development, other, not "prod"`,
				`13: restrictions[0].require.projects[0]: must be at least 1, not 0`,
				`14: restrictions[0].require.groups[0]: must be at least 1, not -1`,
				`15: restrictions[0].require.roles[0]: must not be blank: " "`,
			},
		},
	})
}

func TestParse_RefusesEveryNameThatKubernetesRefuses(t *testing.T) {
	for _, row := range []struct{ name, namespace, account string }{
		{"namespace in upper case", "Deploy", "ci"},
		{"namespace with a dot", "deploy.ci", "ci"},
		{"account with a blank", "deploy", "c i"},
		{"account that is too long", "deploy", strings.Repeat("a", 254)},
		{"account with a colon", "deploy", "ci:x"},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := edit(t, agent, agent+"  serviceAccount:\n    namespace: "+row.namespace+"\n    name: "+row.account+"\n")
			want := "9: agents[0].serviceAccount.namespace: "
			if row.namespace == "deploy" {
				want = "10: agents[0].serviceAccount.name: "
			}
			if got := problems(t, text); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("got %q, want one that begins with %q", got, want)
			}
		})
	}
}
