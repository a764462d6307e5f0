package authz_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestAuthorize_NoOpinionOnOthers(t *testing.T) {
	a := newAuthorizer(registry{}, rules(policy.Restriction{Name: "closed", Require: unmeetable}))
	rows := []struct {
		name string
		user user.Info
	}{
		{"no user", nil},
		{"no extras", &user.DefaultInfo{Name: "jane"}},
		{"another authenticator's extras", &user.DefaultInfo{Name: "jane", Extra: map[string][]string{"scopes": {"a", "b"}}}},
		{"a group of CI jobs alone", &user.DefaultInfo{Name: "gitlab:ci_job:1", Groups: []string{"gitlab:ci_job"}}},
		{"extras of an agent, but of no job", &user.DefaultInfo{Extra: extra(jobKey, "-", deniedKey, "no")}},
		{"the key in capitals, as kube-apiserver never sends it", &user.DefaultInfo{
			Extra: map[string][]string{"Agent.GitLab.com/ci_job_id": {"1"}}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			wantRule(t, a, authorizer.AttributesRecord{User: row.user, Verb: "get"}, noOpinion)
		})
	}
}

// Package extras tests the reading; here, what becomes of it.
func TestAuthorize_MalformedExtras(t *testing.T) {
	long := strings.Repeat("x", 4097)
	rows := []struct {
		name  string
		extra map[string][]string
		want  authz.Rule
	}{
		{"well formed", extra(), noOpinion},
		{"well formed, with an environment", extra(slugKey, "prod", tierKey, "production"), noOpinion},
		{"well formed, with every extra", extra(slugKey, "eu-prod-lb01nz", tierKey, "production", nameKey, "eu/prod", guardedKey, "true",
			refKey, "main", refTypeKey, "branch", protectedKey, "true", sourceKey, "push", groupKey, "25,23", roleKey, "guest,owner",
			userKey, "9"), noOpinion},
		{"lists without a value", extra(groupKey, "[]", roleKey, "[]"), noOpinion},
		{"an extra of another authenticator", extra("example.com/x", "[]"), noOpinion},
		{"the largest id", extra(jobKey, "9223372036854775807"), noOpinion},
		{"without what no decision needs", extra(configKey, "-", pipelineKey, "-", usernameKey, "-"), noOpinion},
		{"an agent that is not configured", extra(agentKey, "5"), authz.RuleUnknownAgent},
		{"another cluster", grantExtra(clusterKey, "staging"), authz.RuleUnknownAgent},

		{"no agent", extra(agentKey, "-"), authz.RuleMalformed},
		{"an agent and a cluster", extra(clusterKey, cluster, grantKey, "shop"), authz.RuleMalformed},
		{"a cluster without a grant, as kube-apiserver itself writes it", grantExtra(grantKey, "-"), noOpinion},
		{"a name without a slug, as kube-apiserver itself writes it", grantExtra(grantKey, "-", nameKey, "eu/prod", tierKey, "other"), noOpinion},
		{"a name without a slug, of a grant", grantExtra(nameKey, "eu/prod", tierKey, "other"), authz.RuleMalformed},
		{"a grant without a cluster", extra(grantKey, "shop"), authz.RuleMalformed},
		{"no project", extra(projectKey, "-"), authz.RuleMalformed},
		{"a slug without a tier", extra(slugKey, "prod"), authz.RuleMalformed},
		{"a tier without a slug", extra(tierKey, "production"), authz.RuleMalformed},
		{"a name without a slug", extra(nameKey, "prod"), authz.RuleMalformed},
		{"a slug that would forge a group", extra(slugKey, "prod:production", tierKey, "production"), authz.RuleMalformed},
		{"a slug in capitals", extra(slugKey, "Prod", tierKey, "production"), authz.RuleMalformed},
		{"a slug that ends in a dash", extra(slugKey, "prod-", tierKey, "production"), authz.RuleMalformed},
		{"a slug longer than a label", extra(slugKey, strings.Repeat("a", 64), tierKey, "production"), authz.RuleMalformed},
		{"a slug as long as a label", extra(slugKey, strings.Repeat("a", 63), tierKey, "production"), noOpinion},
		{"protected is neither true nor false", extra(protectedKey, "True"), authz.RuleMalformed},
		{"a ref type that is neither branch nor tag", extra(refTypeKey, "commit"), authz.RuleMalformed},
		{"a group that is no number", extra(groupKey, "25,x"), authz.RuleMalformed},
		{"a group that is zero", extra(groupKey, "0"), authz.RuleMalformed},
		{"a group that is negative", extra(groupKey, "25,-23"), authz.RuleMalformed},
		{"a group that is empty", extra(groupKey, "25,,23"), authz.RuleMalformed},
		{"64 groups", extra(groupKey, strings.Repeat("9,", 63)+"9"), noOpinion},
		{"65 groups", extra(groupKey, strings.Repeat("9,", 64)+"9"), authz.RuleMalformed},
		{"65 roles", extra(roleKey, strings.Repeat("r,", 64)+"r"), authz.RuleMalformed},
		{"an empty role", extra(roleKey, ""), authz.RuleMalformed},
		{"a role out of bounds", extra(roleKey, long), authz.RuleMalformed},
		{"a name out of bounds", extra(slugKey, "prod", tierKey, "production", nameKey, long), authz.RuleMalformed},
		{"a ref out of bounds", extra(refKey, long), authz.RuleMalformed},
		{"a long ref", extra(refKey, long[1:]), noOpinion},
		{"an empty ref", extra(refKey, ""), authz.RuleMalformed},
		{"an empty user name", extra(usernameKey, ""), authz.RuleMalformed},
		{"two reasons of a denied login", extra(deniedKey, "a,b"), authz.RuleMalformed},
		{"no reason of a denied login", extra(deniedKey, "[]"), authz.RuleMalformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := rules()
			r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
			message := wantRule(t, newAuthorizer(registry{}, r), as(row.extra), row.want)
			if strings.Contains(message, "xxx") {
				t.Errorf("the message repeats a value: %s", message)
			}
		})
	}
}

// Every extra that has one value is malformed with none and with two, whatever the values are.
func TestAuthorize_SingleExtrasHaveOneValue(t *testing.T) {
	whole := extra(slugKey, "prod", tierKey, "production", nameKey, "prod", refKey, "main", protectedKey, "true")
	a := newAuthorizer(registry{}, rules())
	for key, value := range whole {
		for _, values := range [][]string{nil, {}, {value[0], value[0]}, {""}} {
			t.Run(fmt.Sprintf("%s with %q", key, values), func(t *testing.T) {
				changed := extra(slugKey, "prod", tierKey, "production", nameKey, "prod", refKey, "main", protectedKey, "true")
				changed[key] = values
				message := wantRule(t, a, as(changed), authz.RuleMalformed)
				if !strings.Contains(message, key) {
					t.Errorf("the message does not name the extra %s: %s", key, message)
				}
			})
		}
	}
}

func TestAuthorize_IDsAreCanonicalDecimals(t *testing.T) {
	a := newAuthorizer(registry{}, rules())
	for _, key := range []string{agentKey, configKey, projectKey, pipelineKey, jobKey, userKey} {
		for _, value := range []string{
			"0", "-1", "+1", "01", " 1", "1 ", "1.0", "1e3", "0x4", "1_000", "four", "9223372036854775808", "18446744073709551617",
			"٤", strings.Repeat("1", 20),
		} {
			t.Run(key+" is "+strconv.Quote(value), func(t *testing.T) {
				wantRule(t, a, as(extra(key, value)), authz.RuleMalformed)
			})
		}
	}
}
