package tokenreview_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

// withGrants is a cluster called prod that admits jobs by grants alone.
func withGrants(grants ...policy.Grant) tokenreview.Config {
	return tokenreview.Config{Policy: policy.Compile(policy.Rules{Cluster: "prod", Grants: grants})}
}

// byGrant are the extras of aJob where a grant admits it, and more.
func byGrant(more map[string][]string) map[string][]string {
	extra := ofJob(map[string][]string{
		"agent.gitlab.com/id": nil, "agent.gitlab.com/config_project_id": nil, "jobgate.io/cluster": {"prod"}, "jobgate.io/grant": {"shop"},
	})
	for k, v := range more {
		if extra[k] = v; v == nil {
			delete(extra, k)
		}
	}
	return extra
}

var groupsOfAJob = []string{
	"gitlab:ci_job", "gitlab:group:25", "gitlab:group_env_tier:25:production", "gitlab:group:23", "gitlab:group_env_tier:23:production",
	"gitlab:project:150", "gitlab:project_env:150:eu-prod-lb01nz", "gitlab:project_env_tier:150:production",
}

func TestAuthenticateToken_Grants(t *testing.T) {
	refs := func(patterns ...string) policy.Requirements { return policy.Requirements{Refs: patterns} }
	rows := []struct {
		name   string
		grants []policy.Grant
		want   map[string][]string // extras beside those of the job; nil with a reason: rejected
		denied string              // a part of the reason
		reason tokenreview.Reason
	}{
		{name: "by project", grants: []policy.Grant{{Name: "shop", Projects: []int64{150}}}, want: map[string][]string{}},
		{name: "by a group above", grants: []policy.Grant{{Name: "shop", Groups: []int64{23}}},
			want: map[string][]string{"jobgate.io/group": {"25", "23"}}},
		{name: "requirement met", grants: []policy.Grant{{Name: "shop", Projects: []int64{150}, Require: refs("main")}},
			want: map[string][]string{"jobgate.io/ref": {"main"}}},
		{name: "the first that holds", want: map[string][]string{"jobgate.io/ref": {"main"}}, grants: []policy.Grant{
			{Name: "tags", Projects: []int64{150}, Require: refs("v*")}, {Name: "shop", Projects: []int64{150}, Require: refs("main")},
			{Name: "later", Projects: []int64{150}},
		}},
		{name: "named, and the requirement is not met", grants: []policy.Grant{{Name: "shop", Projects: []int64{150}, Require: refs("v*")}},
			denied: `its branch or tag must be one of "v*", and the job's is "main"`},
		{name: "not named", grants: []policy.Grant{{Name: "shop", Projects: []int64{151}}}, reason: tokenreview.ReasonNoGrant},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := authenticate(t, aJob(job.Configuration{}), withGrants(row.grants...), viaCluster)
			if row.reason != "" {
				var rejected *tokenreview.RejectedError
				if !errors.As(err, &rejected) || rejected.Reason != row.reason {
					t.Errorf("error is %v, want %s", err, row.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := identity{Name: "gitlab:ci_job:1001", Groups: groupsOfAJob, Extra: byGrant(row.want)}
			if row.denied != "" {
				reason := got.Extra["jobgate.io/denied"]
				want = identity{Name: "gitlab:ci_job:1001", Extra: byGrant(map[string][]string{"jobgate.io/denied": reason, "jobgate.io/grant": nil})}
				if len(reason) != 1 || !strings.Contains(reason[0], row.denied) {
					t.Errorf("the reason is %q, want %q in it", reason, row.denied)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthenticateToken_GrantAddedAdmitsAtOnce(t *testing.T) {
	a := tokenreview.New(known{aJob(job.Configuration{})}, withGrants(policy.Grant{Name: "x", Projects: []int64{1}}), decision.NewLog(nil, nil))
	if _, _, err := a.AuthenticateToken(t.Context(), viaCluster); err == nil {
		t.Fatal("no grant names the job, and there is no error")
	}
	a.Configure(withGrants(policy.Grant{Name: "x", Projects: []int64{1, 150}}))
	if _, ok, err := a.AuthenticateToken(t.Context(), viaCluster); !ok || err != nil {
		t.Errorf("ok is %t, error is %v", ok, err)
	}
}

func TestAuthenticateToken_ExplainsThatNoGrantNamesTheJob(t *testing.T) {
	config := withGrants(policy.Grant{Name: "x", Projects: []int64{1}})
	config.ExplainRejections = true
	got, err := authenticate(t, aJob(job.Configuration{}), config, viaCluster)
	if err != nil || len(got.Groups) > 0 || !strings.Contains(strings.Join(got.Extra["jobgate.io/denied"], ""), "no grant") {
		t.Errorf("identity is %+v, error is %v", got, err)
	}
}

func TestAuthenticateToken_OtherCluster(t *testing.T) {
	for name, config := range map[string]tokenreview.Config{
		"another name": withGrants(policy.Grant{Name: "x", Projects: []int64{150}}),
		"no name":      configOf(tokenreview.Agent{ID: 4}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := authenticate(t, aJob(job.Configuration{}), config, "ci:staging:token")
			var rejected *tokenreview.RejectedError
			if !errors.As(err, &rejected) || rejected.Reason != tokenreview.ReasonUnknownCluster {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAuthenticateToken_Blocked(t *testing.T) {
	for name, blocked := range map[string]policy.Blocked{
		"job": {Jobs: []int64{1001}}, "project": {Projects: []int64{150}}, "group": {Groups: []int64{23}}, "user": {Users: []int64{9}},
	} {
		t.Run(name, func(t *testing.T) {
			config := withGrants(policy.Grant{Name: "shop", Projects: []int64{150}})
			config.Policy.Blocked = blocked
			_, err := authenticate(t, aJob(job.Configuration{}), config, viaCluster)
			var rejected *tokenreview.RejectedError
			if !errors.As(err, &rejected) || rejected.Reason != tokenreview.ReasonBlocked || !strings.Contains(err.Error(), "blocked."+name+"s") {
				t.Errorf("error is %v, want one that names the list", err)
			}
		})
	}
}

// ours takes every token that begins so for an ID token of this cluster.
type ours string

func (o ours) Ours(token string) (time.Time, bool) {
	return time.Time{}, strings.HasPrefix(token, string(o))
}

func TestAuthenticateToken_IDTokens(t *testing.T) {
	j := aJob(job.Configuration{})
	j.Agents, j.TokenID = nil, "jti-1"
	config := withGrants(policy.Grant{Name: "shop", Projects: []int64{150}})
	config.IDTokens = ours("eyJ")
	got, err := authenticate(t, j, config, "eyJhbGciOiJSUzI1NiJ9.x.y")
	want := identity{Name: "gitlab:ci_job:1001", Groups: groupsOfAJob, Extra: byGrant(map[string][]string{
		"authentication.kubernetes.io/credential-id": {"JTI=jti-1"},
	})}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v, identity (-want +got):\n%s", err, diff)
	}
	a := tokenreview.New(known{j}, config, decision.NewLog(nil, nil))
	if _, ok, err := a.AuthenticateToken(t.Context(), "another's"); ok || err != nil {
		t.Errorf("another authenticator's token: ok is %t, error is %v", ok, err)
	}
}
