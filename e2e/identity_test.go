package e2e_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestAccessAs_DecidesTheIdentity(t *testing.T) {
	tests := []struct {
		name    string
		context string
		agent   int64
		want    authenticationv1.UserInfo // its extras come on top of the job's
	}{
		{"agent, with a ServiceAccount", serviceAccountContext, serviceAccountAgent, authenticationv1.UserInfo{
			Username: "system:serviceaccount:deploy:deployer",
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:deploy", "system:authenticated"},
		}},
		{"agent, without", bareContext, bareAgent, authenticationv1.UserInfo{
			Username: "gitlab:agent:6",
			Groups:   []string{"gitlab:agent", "system:authenticated"},
		}},
		{"impersonate, within the agent's lists", impersonateContext, impersonateAgent, authenticationv1.UserInfo{
			Username: "deploy-bot", UID: "42",
			Groups: []string{"deployers", "system:authenticated"},
			Extra:  map[string]authenticationv1.ExtraValue{"example.com/team": {"web"}},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := loggedIn(t, gitlabtest.Job{Environment: "prod"}, test.context)
			want := test.want
			extras := j.extras(test.agent)
			for key, value := range want.Extra {
				extras[key] = value
			}
			want.Extra = extras
			if diff := cmp.Diff(want, whoami(t, j.Workspace)); diff != "" {
				t.Errorf("kubectl auth whoami (-want +got):\n%s", diff)
			}
		})
	}
}

// What one agent's configuration gets wrong costs the job that agent and no other.
func TestAccessAs_UnusableAgentIsRefusedAlone(t *testing.T) {
	tests := []struct {
		name    string
		context string
	}{
		{"impersonate, outside the agent's lists", overreachingContext},
		{"a mode that jobgate does not know", unknownModeContext},
		{"two modes at once", twoModesContext},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := loggedIn(t, gitlabtest.Job{}, test.context)
			wantUnauthorized(t, j.Workspace)
			j.use(t, site.API, ciJobContext)
			if got := whoami(t, j.Workspace).Username; got != j.username() {
				t.Errorf("through the good agent: username %s, want %s", got, j.username())
			}
		})
	}
}
