package authz_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
)

func TestAuthorize_NoOpinionOnOthers(t *testing.T) {
	a := newAuthorizer(t, registry{}, policy(authz.Restriction{
		Name: "nobody", Require: authz.Requirements{Projects: []int64{1}},
	}))
	rows := []struct {
		name string
		user user.Info
	}{
		{"no user", nil},
		{"no extras", &user.DefaultInfo{Name: "jane"}},
		{"somebody else's extras", &user.DefaultInfo{Name: "jane", Extra: map[string][]string{"scopes": {"a", "b"}}}},
		{"a group of CI jobs alone", &user.DefaultInfo{Name: "gitlab:ci_job:1", Groups: []string{"gitlab:ci_job"}}},
		{"extras of an agent, but of no job", &user.DefaultInfo{Extra: extra("agent.gitlab.com/ci_job_id", "-", deniedKey, "no")}},
		{"the key in capitals, as kube-apiserver never sends it", &user.DefaultInfo{
			Extra: map[string][]string{"Agent.GitLab.com/ci_job_id": {"1"}}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			wantRule(t, a, authorizer.AttributesRecord{User: row.user, Verb: "get"}, noOpinion)
		})
	}
}

func TestAuthorize_MalformedExtras(t *testing.T) {
	const none = noOpinion
	long := strings.Repeat("x", 4097)
	rows := []struct {
		name  string
		extra map[string][]string
		want  authz.Rule
	}{
		{"well formed", extra(), none},
		{"well formed, with an environment", extra(slugKey, "prod", tierKey, "production"), none},
		{"well formed, with every extra", extra(slugKey, "eu-prod-lb01nz", tierKey, "production", nameKey, "eu/prod", refKey, "main",
			protectedKey, "true", groupKey, "25,23", roleKey, "guest,owner"), none},
		{"lists without a value", extra(groupKey, "[]", roleKey, "[]"), none},
		{"an extra that is somebody else's", extra("example.com/x", "[]"), none},
		{"the largest id", extra("agent.gitlab.com/ci_job_id", "9223372036854775807"), none},
		{"what no decision needs is left out", extra("agent.gitlab.com/config_project_id", "-", "agent.gitlab.com/ci_pipeline_id", "-",
			"agent.gitlab.com/username", "-"), none},

		{"no agent", extra("agent.gitlab.com/id", "-"), authz.RuleMalformed},
		{"no project", extra("agent.gitlab.com/project_id", "-"), authz.RuleMalformed},
		{"an agent that is not configured", extra("agent.gitlab.com/id", "5"), authz.RuleUnknownAgent},
		{"a slug without a tier", extra(slugKey, "prod"), authz.RuleMalformed},
		{"a tier without a slug", extra(tierKey, "production"), authz.RuleMalformed},
		{"a name without a slug", extra(nameKey, "prod"), authz.RuleMalformed},
		{"a slug that would forge a group", extra(slugKey, "prod:production", tierKey, "production"), authz.RuleMalformed},
		{"a slug in capitals", extra(slugKey, "Prod", tierKey, "production"), authz.RuleMalformed},
		{"a slug that ends in a dash", extra(slugKey, "prod-", tierKey, "production"), authz.RuleMalformed},
		{"a slug longer than a label", extra(slugKey, strings.Repeat("a", 64), tierKey, "production"), authz.RuleMalformed},
		{"a slug as long as a label", extra(slugKey, strings.Repeat("a", 63), tierKey, "production"), none},
		{"protected is neither true nor false", extra(protectedKey, "True"), authz.RuleMalformed},
		{"a group that is no number", extra(groupKey, "25,x"), authz.RuleMalformed},
		{"a group that is zero", extra(groupKey, "0"), authz.RuleMalformed},
		{"a group that is negative", extra(groupKey, "25,-23"), authz.RuleMalformed},
		{"a group that is empty", extra(groupKey, "25,,23"), authz.RuleMalformed},
		{"64 groups", extra(groupKey, strings.Repeat("9,", 63)+"9"), none},
		{"65 groups", extra(groupKey, strings.Repeat("9,", 64)+"9"), authz.RuleMalformed},
		{"65 roles", extra(roleKey, strings.Repeat("r,", 64)+"r"), authz.RuleMalformed},
		{"an empty role", extra(roleKey, ""), authz.RuleMalformed},
		{"a role out of bounds", extra(roleKey, long), authz.RuleMalformed},
		{"a name out of bounds", extra(slugKey, "prod", tierKey, "production", nameKey, long), authz.RuleMalformed},
		{"a ref out of bounds", extra(refKey, long), authz.RuleMalformed},
		{"a long ref", extra(refKey, long[1:]), none},
		{"an empty ref", extra(refKey, ""), authz.RuleMalformed},
		{"an empty user name", extra("agent.gitlab.com/username", ""), authz.RuleMalformed},
		{"two reasons of a denied login", extra(deniedKey, "a,b"), authz.RuleMalformed},
		{"no reason of a denied login", extra(deniedKey, "[]"), authz.RuleMalformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			message := wantRule(t, newAuthorizer(t, registry{}, policy()), as(row.extra), row.want)
			if strings.Contains(message, "xxx") {
				t.Errorf("the message repeats a value: %s", message)
			}
		})
	}
}

// Every extra that has one value is malformed with none and with two, whatever the values are.
func TestAuthorize_SingleExtrasHaveOneValue(t *testing.T) {
	whole := extra(slugKey, "prod", tierKey, "production", nameKey, "prod", refKey, "main", protectedKey, "true")
	a := newAuthorizer(t, registry{}, policy())
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
	a := newAuthorizer(t, registry{}, policy())
	keys := []string{"agent.gitlab.com/id", "agent.gitlab.com/config_project_id", "agent.gitlab.com/project_id",
		"agent.gitlab.com/ci_pipeline_id", "agent.gitlab.com/ci_job_id"}
	for _, key := range keys {
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
