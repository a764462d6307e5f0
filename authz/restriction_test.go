package authz_test

import (
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
)

// unmeetable is a requirement that no job of these tests meets, so that a restriction denies whatever it matches.
var unmeetable = authz.Requirements{Projects: []int64{1}}

func TestRestriction_Filters(t *testing.T) {
	type change = func(*authorizer.AttributesRecord)
	none := func(*authorizer.AttributesRecord) {}
	rows := []struct {
		name        string
		restriction authz.Restriction
		request     change
		matches     bool
	}{
		{"no filter", authz.Restriction{}, none, true},
		{"no filter, cluster-scoped", authz.Restriction{}, request("delete", "", "", "nodes"), true},
		{"no filter, non-resource", authz.Restriction{}, nonResource("get", "/metrics"), true},
		{"no filter, a subresource", authz.Restriction{}, request("create", "prod", "", "pods/exec"), true},

		{"agent", authz.Restriction{Agents: []int64{3, 4}}, none, true},
		{"another agent", authz.Restriction{Agents: []int64{3, 5}}, none, false},
		{"agent, non-resource", authz.Restriction{Agents: []int64{4}}, nonResource("get", "/metrics"), true},

		{"namespace", authz.Restriction{Namespaces: []string{"prod"}}, none, true},
		{"another namespace", authz.Restriction{Namespaces: []string{"staging"}}, none, false},
		{"one of the namespaces", authz.Restriction{Namespaces: []string{"staging", "prod"}}, none, true},
		{"namespace pattern", authz.Restriction{Namespaces: []string{"prod-*"}}, request("create", "prod-eu", "", "pods"), true},
		{"namespace pattern is anchored", authz.Restriction{Namespaces: []string{"prod*"}}, request("create", "preprod", "", "pods"), false},
		{"any namespace", authz.Restriction{Namespaces: []string{"*"}}, none, true},
		{"any namespace, cluster-scoped", authz.Restriction{Namespaces: []string{"*"}}, request("create", "", "", "nodes"), false},
		{"any namespace, non-resource", authz.Restriction{Namespaces: []string{"*"}}, nonResource("get", "/metrics"), false},
		{"the namespace itself", authz.Restriction{Namespaces: []string{"prod"}}, request("delete", "prod", "", "namespaces"), true},

		{"verb", authz.Restriction{Verbs: []string{"get", "create"}}, none, true},
		{"another verb", authz.Restriction{Verbs: []string{"get", "Create"}}, none, false},
		{"any verb", authz.Restriction{Verbs: []string{"*"}}, none, true},
		{"a star in a verb is none", authz.Restriction{Verbs: []string{"cre*"}}, none, false},
		{"verb, non-resource", authz.Restriction{Verbs: []string{"post"}}, nonResource("post", "/x"), true},
		{"another verb, non-resource", authz.Restriction{Verbs: []string{"create"}}, nonResource("post", "/x"), false},

		{"group", authz.Restriction{APIGroups: []string{"", "apps"}}, none, true},
		{"another group", authz.Restriction{APIGroups: []string{"", "batch"}}, none, false},
		{"core group", authz.Restriction{APIGroups: []string{""}}, request("create", "prod", "", "pods"), true},
		{"core group is not any", authz.Restriction{APIGroups: []string{""}}, none, false},
		{"any group", authz.Restriction{APIGroups: []string{"*"}}, none, true},
		{"any group, core", authz.Restriction{APIGroups: []string{"*"}}, request("create", "prod", "", "pods"), true},
		{"any group, non-resource", authz.Restriction{APIGroups: []string{"*"}}, nonResource("get", "/apis"), false},
		{"core group, non-resource", authz.Restriction{APIGroups: []string{""}}, nonResource("get", "/apis"), false},

		{"resource", authz.Restriction{Resources: []string{"pods", "deployments"}}, none, true},
		{"another resource", authz.Restriction{Resources: []string{"pods"}}, none, false},
		{"any resource", authz.Restriction{Resources: []string{"*"}}, none, true},
		{"any resource, a subresource", authz.Restriction{Resources: []string{"*"}}, request("create", "prod", "", "pods/exec"), true},
		{"any resource, non-resource", authz.Restriction{Resources: []string{"*"}}, nonResource("get", "/apis"), false},
		{"resource, its subresource", authz.Restriction{Resources: []string{"pods"}}, request("create", "prod", "", "pods/exec"), false},
		{"subresource", authz.Restriction{Resources: []string{"pods/exec"}}, request("create", "prod", "", "pods/exec"), true},
		{"subresource, its resource", authz.Restriction{Resources: []string{"pods/exec"}}, request("create", "prod", "", "pods"), false},
		{"another subresource", authz.Restriction{Resources: []string{"pods/exec"}}, request("create", "prod", "", "pods/log"), false},
		{"another's subresource", authz.Restriction{Resources: []string{"deployments/scale"}}, request("update", "prod", "apps", "statefulsets/scale"), false},
		{"any's subresource", authz.Restriction{Resources: []string{"*/scale"}}, request("update", "prod", "apps", "statefulsets/scale"), true},
		{"any's other subresource", authz.Restriction{Resources: []string{"*/scale"}}, request("update", "prod", "apps", "statefulsets/status"), false},
		{"any's subresource, a resource", authz.Restriction{Resources: []string{"*/scale"}}, none, false},
		{"any's subresource, a resource of that name", authz.Restriction{Resources: []string{"*/scale"}}, request("get", "prod", "", "scale"), false},
		{"the end of a subresource's name", authz.Restriction{Resources: []string{"*/scale", "pods/ale"}}, request("update", "prod", "", "pods/rescale"), false},
		{"any subresource is none of RBAC's", authz.Restriction{Resources: []string{"pods/*"}}, request("create", "prod", "", "pods/exec"), false},
		{"a subresource with a slash", authz.Restriction{Resources: []string{"userextras/example.com/team"}},
			request("get", "prod", "", "userextras/example.com/team"), true},

		{"all filters", authz.Restriction{Agents: []int64{4}, Namespaces: []string{"prod"}, Verbs: []string{"create"},
			APIGroups: []string{"apps"}, Resources: []string{"deployments"}}, none, true},
		{"all filters but the agent", authz.Restriction{Agents: []int64{5}, Namespaces: []string{"prod"}, Verbs: []string{"create"},
			APIGroups: []string{"apps"}, Resources: []string{"deployments"}}, none, false},
		{"all filters but the namespace", authz.Restriction{Agents: []int64{4}, Namespaces: []string{"dev"}, Verbs: []string{"create"},
			APIGroups: []string{"apps"}, Resources: []string{"deployments"}}, none, false},
		{"all filters but the verb", authz.Restriction{Agents: []int64{4}, Namespaces: []string{"prod"}, Verbs: []string{"get"},
			APIGroups: []string{"apps"}, Resources: []string{"deployments"}}, none, false},
		{"all filters but the group", authz.Restriction{Agents: []int64{4}, Namespaces: []string{"prod"}, Verbs: []string{"create"},
			APIGroups: []string{""}, Resources: []string{"deployments"}}, none, false},
		{"all filters but the resource", authz.Restriction{Agents: []int64{4}, Namespaces: []string{"prod"}, Verbs: []string{"create"},
			APIGroups: []string{"apps"}, Resources: []string{"pods"}}, none, false},
		{"stars everywhere", authz.Restriction{Namespaces: []string{"*"}, Verbs: []string{"*"}, APIGroups: []string{"*"},
			Resources: []string{"*"}}, none, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.restriction.Name, row.restriction.Require = "unmeetable", unmeetable
			want := noOpinion
			if row.matches {
				want = authz.RuleRestriction
			}
			for _, jobs := range []registry{{job: knownJob()}, {}} {
				wantRule(t, newAuthorizer(t, jobs, policy(row.restriction)), as(extra(), row.request), want)
			}
		})
	}
}

func TestRestriction_ReasonNamesJobAgentRestrictionAndTheWayOut(t *testing.T) {
	p := policy(authz.Restriction{Name: "production", Require: authz.Requirements{
		Environments: []string{"production", "prod/*"}, Projects: []int64{23, 24},
	}})
	p.AgentNames = map[int64]string{agentID: "path/to:agent"}
	j := knownJob(inEnvironment("staging", "staging", "staging"))
	got := wantRule(t, newAuthorizer(t, registry{job: j}, p), as(extraOf(j)), authz.RuleRestriction)
	want := `jobgate: restriction "production" does not let job 1001 of project 150 (agent 4 (path/to:agent)) do this: ` +
		`its environment must be one of "production", "prod/*", and the job's is "staging"; its project must be one of 23, 24`
	if got != want {
		t.Errorf("message is\n%s, want\n%s", got, want)
	}
}

func TestRestriction_ImpersonationWouldWalkAroundIt(t *testing.T) {
	met := authz.Requirements{Projects: []int64{150}}
	rows := []struct {
		name        string
		restriction authz.Restriction
		request     func(*authorizer.AttributesRecord)
		denied      bool
	}{
		{"users, about namespaces", authz.Restriction{Namespaces: []string{"dev"}}, request("impersonate", "", "", "users"), true},
		{"groups, about groups of resources", authz.Restriction{APIGroups: []string{"apps"}}, request("impersonate", "", "", "groups"), true},
		{"service accounts, about resources", authz.Restriction{Resources: []string{"secrets"}}, request("impersonate", "dev", "", "serviceaccounts"), true},
		{"extras", authz.Restriction{Resources: []string{"secrets"}},
			request("impersonate", "", "authentication.k8s.io", "userextras/agent.gitlab.com/ci_job_id"), true},
		{"uids", authz.Restriction{Resources: []string{"secrets"}}, request("impersonate", "", "authentication.k8s.io", "uids"), true},
		{"stars", authz.Restriction{APIGroups: []string{"*"}}, request("impersonate", "", "", "users"), true},
		{"for other verbs", authz.Restriction{Verbs: []string{"delete"}, Resources: []string{"secrets"}}, request("impersonate", "", "", "users"), true},
		{"for the job's agent", authz.Restriction{Agents: []int64{3, 4}, Resources: []string{"secrets"}}, request("impersonate", "", "", "users"), true},
		{"for another agent", authz.Restriction{Agents: []int64{3}, Resources: []string{"secrets"}}, request("impersonate", "", "", "users"), false},
		{"about verbs alone", authz.Restriction{Verbs: []string{"delete"}}, request("impersonate", "", "", "users"), false},
		{"about everything", authz.Restriction{}, request("impersonate", "", "", "users"), false},

		{"constrained to a kind of user", authz.Restriction{Resources: []string{"secrets"}},
			request("impersonate:user-info", "", "authentication.k8s.io", "users"), true},
		{"constrained to service accounts", authz.Restriction{Resources: []string{"secrets"}},
			request("impersonate:serviceaccount", "dev", "authentication.k8s.io", "serviceaccounts"), true},
		{"constrained to a request", authz.Restriction{Resources: []string{"secrets"}},
			request("impersonate-on:user-info:get", "dev", "", "pods"), true},
		{"a verb that only begins alike", authz.Restriction{Resources: []string{"secrets"}}, request("impersonates", "", "", "users"), false},
		{"another verb on users", authz.Restriction{Resources: []string{"secrets"}}, request("get", "", "", "users"), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			row.restriction.Name, row.restriction.Require = "guard", met
			want, says := noOpinion, ""
			if row.denied {
				want, says = authz.RuleImpersonation, `job 1001 of project 150 (agent 4) may not impersonate, because that would `+
					`walk around restriction "guard"`
			}
			for _, jobs := range []registry{{job: knownJob()}, {}} {
				message := wantRule(t, newAuthorizer(t, jobs, policy(row.restriction)), as(extra(), row.request), want)
				if !strings.Contains(message, says) {
					t.Errorf("message is %q, want %q in it", message, says)
				}
			}
		})
	}
}
