package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// resource is a request for a resource; after a slash, its subresource.
func resource(verb, namespace, group, name string) policy.Request {
	q := policy.Request{Verb: verb, Namespace: namespace, APIGroup: group, IsResource: true}
	q.Resource, q.Subresource, _ = strings.Cut(name, "/")
	return q
}

// path is a request for none.
func path(verb string) policy.Request { return policy.Request{Verb: verb} }

func TestRestriction_Filters(t *testing.T) {
	const agent = 4
	deploy := resource("create", "prod", "apps", "deployments")
	exec := resource("create", "prod", "", "pods/exec")
	scale := resource("update", "prod", "apps", "statefulsets/scale")
	all := policy.Restriction{
		Agents: []int64{agent}, Namespaces: []string{"prod"}, Verbs: []string{"create"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"},
	}
	but := func(change func(*policy.Restriction)) policy.Restriction {
		r := all
		change(&r)
		return r
	}
	namespaces := func(list ...string) policy.Restriction { return policy.Restriction{Namespaces: list} }
	verbs := func(list ...string) policy.Restriction { return policy.Restriction{Verbs: list} }
	groups := func(list ...string) policy.Restriction { return policy.Restriction{APIGroups: list} }
	resources := func(list ...string) policy.Restriction { return policy.Restriction{Resources: list} }
	rows := []struct {
		name        string
		restriction policy.Restriction
		request     policy.Request
		matches     bool
	}{
		{name: "no filter", request: deploy, matches: true},
		{name: "no filter, cluster-scoped", request: resource("delete", "", "", "nodes"), matches: true},
		{name: "no filter, non-resource", request: path("get"), matches: true},
		{name: "no filter, a subresource", request: exec, matches: true},

		{name: "agent", restriction: policy.Restriction{Agents: []int64{3, 4}}, request: deploy, matches: true},
		{name: "another agent", restriction: policy.Restriction{Agents: []int64{3, 5}}, request: deploy},
		{name: "agent, non-resource", restriction: policy.Restriction{Agents: []int64{4}}, request: path("get"), matches: true},

		{name: "namespace", restriction: namespaces("prod"), request: deploy, matches: true},
		{name: "another namespace", restriction: namespaces("staging"), request: deploy},
		{name: "one of the namespaces", restriction: namespaces("staging", "prod"), request: deploy, matches: true},
		{name: "namespace pattern", restriction: namespaces("prod-*"), request: resource("create", "prod-eu", "", "pods"), matches: true},
		{name: "namespace pattern is anchored", restriction: namespaces("prod*"), request: resource("create", "preprod", "", "pods")},
		{name: "any namespace", restriction: namespaces("*"), request: deploy, matches: true},
		{name: "any namespace, cluster-scoped", restriction: namespaces("*"), request: resource("create", "", "", "nodes")},
		{name: "any namespace, non-resource", restriction: namespaces("*"), request: path("get")},
		{name: "the namespace itself", restriction: namespaces("prod"), request: resource("delete", "prod", "", "namespaces"), matches: true},

		{name: "verb", restriction: verbs("get", "create"), request: deploy, matches: true},
		{name: "another verb", restriction: verbs("get", "delete"), request: deploy},
		{name: "any verb", restriction: verbs("*"), request: deploy, matches: true},
		{name: "verb, non-resource", restriction: verbs("post"), request: path("post"), matches: true},
		{name: "another verb, non-resource", restriction: verbs("create"), request: path("post")},

		{name: "group", restriction: groups("", "apps"), request: deploy, matches: true},
		{name: "another group", restriction: groups("", "batch"), request: deploy},
		{name: "core group", restriction: groups(""), request: exec, matches: true},
		{name: "core group is not any", restriction: groups(""), request: deploy},
		{name: "any group", restriction: groups("*"), request: deploy, matches: true},
		{name: "any group, core", restriction: groups("*"), request: exec, matches: true},
		{name: "any group, non-resource", restriction: groups("*"), request: path("get")},
		{name: "core group, non-resource", restriction: groups(""), request: path("get")},

		{name: "resource", restriction: resources("pods", "deployments"), request: deploy, matches: true},
		{name: "another resource", restriction: resources("pods"), request: deploy},
		{name: "any resource", restriction: resources("*"), request: deploy, matches: true},
		{name: "any resource, a subresource", restriction: resources("*"), request: exec, matches: true},
		{name: "any resource, non-resource", restriction: resources("*"), request: path("get")},
		{name: "resource, its subresource", restriction: resources("pods"), request: exec},
		{name: "subresource", restriction: resources("pods/exec"), request: exec, matches: true},
		{name: "subresource, its resource", restriction: resources("pods/exec"), request: resource("create", "prod", "", "pods")},
		{name: "another subresource", restriction: resources("pods/exec"), request: resource("create", "prod", "", "pods/log")},
		{name: "another's subresource", restriction: resources("deployments/scale"), request: scale},
		{name: "any's subresource", restriction: resources("*/scale"), request: scale, matches: true},
		{name: "any's other subresource", restriction: resources("*/scale"), request: resource("update", "prod", "apps", "statefulsets/status")},
		{name: "any's subresource, a resource", restriction: resources("*/scale"), request: deploy},
		{name: "any's subresource, a resource of that name", restriction: resources("*/scale"), request: resource("get", "prod", "", "scale")},
		{name: "the end of a subresource's name", restriction: resources("*/scale", "pods/ale"), request: resource("update", "prod", "", "pods/rescale")},
		{name: "a subresource with a slash", restriction: resources("userextras/example.com/team"),
			request: resource("get", "prod", "", "userextras/example.com/team"), matches: true},

		{name: "all filters", restriction: all, request: deploy, matches: true},
		{name: "all but the agent", restriction: but(func(r *policy.Restriction) { r.Agents = []int64{5} }), request: deploy},
		{name: "all but the namespace", restriction: but(func(r *policy.Restriction) { r.Namespaces = []string{"dev"} }), request: deploy},
		{name: "all but the verb", restriction: but(func(r *policy.Restriction) { r.Verbs = []string{"get"} }), request: deploy},
		{name: "all but the group", restriction: but(func(r *policy.Restriction) { r.APIGroups = []string{""} }), request: deploy},
		{name: "all but the resource", restriction: but(func(r *policy.Restriction) { r.Resources = []string{"pods"} }), request: deploy},
		{name: "stars everywhere", restriction: policy.Restriction{Namespaces: []string{"*"}, Verbs: []string{"*"}, APIGroups: []string{"*"},
			Resources: []string{"*"}}, request: deploy, matches: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := restriction(row.restriction).Matches(&row.request, agent); got != row.matches {
				t.Errorf("matches: %t, want %t", got, row.matches)
			}
		})
	}
}

func TestRestriction_AppliesToItsAgentsAndWithoutAnyToAll(t *testing.T) {
	filtered, free := restriction(policy.Restriction{Agents: []int64{4}}), restriction(policy.Restriction{})
	for agent, want := range map[int64]bool{4: true, 5: false, 0: false} {
		if got := filtered.AppliesTo(agent); got != want {
			t.Errorf("applies to agent %d: %t, want %t", agent, got, want)
		}
		if !free.AppliesTo(agent) {
			t.Errorf("one without a filter does not apply to agent %d", agent)
		}
	}
}

func TestRequest_IsImpersonation(t *testing.T) {
	for verb, want := range map[string]bool{
		"impersonate": true, "impersonate:user-info": true, "impersonate:serviceaccount": true, "impersonate:associated-node": true,
		"impersonate-on:user-info:get": true, "impersonates": false, "impersonate-": false, "impersonate-once": false, "get": false, "": false,
	} {
		q := policy.Request{Verb: verb}
		if got := q.IsImpersonation(); got != want {
			t.Errorf("%q is an impersonation: %t, want %t", verb, got, want)
		}
	}
}

func TestRestriction_Validation(t *testing.T) {
	require := policy.Requirements{Projects: policy.Projects{1}}
	with := func(r policy.Restriction) policy.Restriction {
		r.Name, r.Require = "a", require
		return r
	}
	const verb, group, sub = "must be one verb in lower case, as in create, or * alone", "must be one group in lower case, as in apps, or * alone",
		"must name its subresource, as in pods/exec or */scale: RBAC has no other form"
	const plural = "must be a resource's plural name in lower case, as in deployments, or * alone"
	const namespace = "must be lower-case letters, digits, dashes and *: no other namespace exists"
	rows := []struct {
		name        string
		restriction policy.Restriction
		errors      []string
	}{
		{name: "a requirement alone", restriction: with(policy.Restriction{})},
		{name: "every filter", restriction: with(policy.Restriction{
			Mode: policy.Report, Namespaces: []string{"prod", "prod-*", "*"}, Verbs: []string{"create", "*", "impersonate-on:user-info:get"},
			APIGroups: []string{"", "apps", "*", "rbac.authorization.k8s.io"},
			Resources: []string{"pods", "*", "pods/exec", "*/scale", "userextras/example.com/team"},
		})},
		{name: "no name", restriction: policy.Restriction{Require: require},
			errors: []string{"r.name: Required value: it is shown to those whom the restriction denies"}},
		{name: "a blank name", restriction: policy.Restriction{Name: " ", Require: require},
			errors: []string{"r.name: Required value: it is shown to those whom the restriction denies"}},
		{name: "no requirement", restriction: policy.Restriction{Name: "a"}, errors: []string{"r.require: Required value: must have at least one requirement"}},
		{name: "requirements that are empty", restriction: policy.Restriction{Name: "a", Require: policy.Requirements{Roles: policy.Roles{}}},
			errors: []string{"r.require: Required value: must have at least one requirement"}},
		{name: "a bad requirement", restriction: policy.Restriction{Name: "a", Require: policy.Requirements{Refs: policy.Refs{""}}},
			errors: []string{`r.require.refs[0]: Invalid value: "": must not be blank`}},
		{name: "blank entries", restriction: with(policy.Restriction{
			Namespaces: []string{"b", ""}, Verbs: []string{" "}, APIGroups: []string{"", " "}, Resources: []string{""},
		}), errors: []string{
			`r.namespaces[1]: Invalid value: "": must not be blank`, `r.verbs[0]: Invalid value: " ": must not be blank`,
			`r.apiGroups[1]: Invalid value: " ": must be "" for the core group`, `r.resources[0]: Invalid value: "": must not be blank`,
		}},
		{name: "capitals", restriction: with(policy.Restriction{
			Namespaces: []string{"Prod"}, Verbs: []string{"Create"}, APIGroups: []string{"Apps"}, Resources: []string{"Deployment", "pods/Exec"},
		}), errors: []string{
			`r.namespaces[0]: Invalid value: "Prod": ` + namespace, `r.verbs[0]: Invalid value: "Create": ` + verb,
			`r.apiGroups[0]: Invalid value: "Apps": ` + group, `r.resources[0]: Invalid value: "Deployment": ` + plural,
			`r.resources[1]: Invalid value: "pods/Exec": ` + plural,
		}},
		{name: "patterns where RBAC has none", restriction: with(policy.Restriction{
			Verbs: []string{"cre*"}, APIGroups: []string{"*.example.com"}, Resources: []string{"dep*", "pods/*", "pods/ex*", "*/*"},
		}), errors: []string{
			`r.verbs[0]: Invalid value: "cre*": ` + verb, `r.apiGroups[0]: Invalid value: "*.example.com": ` + group,
			`r.resources[0]: Invalid value: "dep*": ` + plural, `r.resources[1]: Invalid value: "pods/*": ` + sub,
			`r.resources[2]: Invalid value: "pods/ex*": ` + sub, `r.resources[3]: Invalid value: "*/*": ` + sub,
		}},
		{name: "a group with its version, halves of a subresource, and spaces", restriction: with(policy.Restriction{
			Namespaces: []string{"a/b", "a_b"}, Verbs: []string{"get, list"}, APIGroups: []string{"apps/v1"}, Resources: []string{"/exec", "pods/", " pods"},
		}), errors: []string{
			`r.namespaces[0]: Invalid value: "a/b": ` + namespace, `r.namespaces[1]: Invalid value: "a_b": ` + namespace,
			`r.verbs[0]: Invalid value: "get, list": ` + verb,
			`r.apiGroups[0]: Invalid value: "apps/v1": must be a group without its version, as in apps`,
			`r.resources[0]: Invalid value: "/exec": ` + sub, `r.resources[1]: Invalid value: "pods/": ` + sub,
			`r.resources[2]: Invalid value: " pods": ` + plural,
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.errors, texts(row.restriction.Validate(field.NewPath("r")))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRestriction_ModeIsEnforceUnlessReport(t *testing.T) {
	for mode, want := range map[policy.Mode]policy.Mode{"": policy.Enforce, policy.Enforce: policy.Enforce, policy.Report: policy.Report} {
		if got := restriction(policy.Restriction{Mode: mode}).Mode; got != want {
			t.Errorf("%q compiles to %q, want %q", mode, got, want)
		}
	}
}

func TestRestriction_MetJobAllocatesNothing(t *testing.T) {
	r, j, q := restriction(policy.Restriction{Name: "r", Namespaces: []string{"prod-*"}, Require: one}), meeting(), resource("get", "prod-1", "", "pods")
	if got := testing.AllocsPerRun(100, func() {
		if !r.Matches(&q, 4) || !r.Met(&j) {
			t.Error("does not match, or is not met")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

// A reload must not change the policy that other requests are being judged by.
func TestCompile_KeepsNothingOfTheCaller(t *testing.T) {
	r := policy.Rules{
		Agents:       []policy.Agent{{ID: 4}},
		Grants:       []policy.Grant{{Name: "g", Projects: []int64{150}, Groups: []int64{23}}},
		Restrictions: []policy.Restriction{{Name: "r", Verbs: []string{"get"}, Require: policy.Requirements{Projects: policy.Projects{150}}}},
		Blocked:      policy.Blocked{Jobs: []int64{7}},
	}
	p := policy.Compile(r)
	r.Agents[0].ID, r.Grants[0].Projects[0], r.Grants[0].Groups[0], r.Blocked.Jobs[0] = 9, 9, 9, 9
	r.Restrictions[0].Verbs[0], r.Restrictions[0].Require.Projects[0] = "create", 9
	j, q := job.Job{ID: 7, ProjectID: 150}, policy.Request{Verb: "get"}
	switch c := &p.Restrictions[0]; {
	case !p.Serves(4), p.Admit(&j).Grant != "g", p.Blocked.Reason(&j) == "", !c.Matches(&q, 4), !c.Met(&j):
		t.Error("a policy changes with the rules that it was made from")
	}
}
