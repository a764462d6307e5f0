package tokenreview_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/tokenreview"
)

func TestAuthenticateToken_ImpersonateAllowlists(t *testing.T) {
	rows := []struct {
		name    string
		as      gitlab.Impersonate
		allowed tokenreview.Allowed
		refused string // a word of the message; empty: allowed
	}{
		{"nothing is allowed by default", gitlab.Impersonate{Username: "u"}, tokenreview.Allowed{}, "user"},
		{"exact user", gitlab.Impersonate{Username: "u"}, tokenreview.Allowed{Users: []string{"u"}}, ""},
		{"another user", gitlab.Impersonate{Username: "uu"}, tokenreview.Allowed{Users: []string{"u"}}, "user"},
		{"other case", gitlab.Impersonate{Username: "U"}, tokenreview.Allowed{Users: []string{"u"}}, "user"},
		{"prefix", gitlab.Impersonate{Username: "deploy-web"}, tokenreview.Allowed{Users: []string{"deploy-*"}}, ""},
		{"prefix itself", gitlab.Impersonate{Username: "deploy-"}, tokenreview.Allowed{Users: []string{"deploy-*"}}, ""},
		{"before the prefix", gitlab.Impersonate{Username: "no-deploy-web"}, tokenreview.Allowed{Users: []string{"deploy-*"}}, "user"},
		{"a star elsewhere is a character", gitlab.Impersonate{Username: "a-b"}, tokenreview.Allowed{Users: []string{"*-b"}}, "user"},
		{"system user by the widest prefix", gitlab.Impersonate{Username: "system:admin"}, tokenreview.Allowed{Users: []string{"*"}}, "user"},
		{"system user by its own prefix", gitlab.Impersonate{Username: "system:admin"}, tokenreview.Allowed{Users: []string{"system:*"}}, "user"},
		{"system user by name", gitlab.Impersonate{Username: "system:serviceaccount:a:b"}, tokenreview.Allowed{Users: []string{"system:serviceaccount:a:b"}}, ""},
		{"group not allowed", gitlab.Impersonate{Username: "u", Groups: []string{"g", "h"}}, tokenreview.Allowed{Users: []string{"u"}, Groups: []string{"g"}}, "group"},
		{"system:masters by prefix", gitlab.Impersonate{Username: "u", Groups: []string{"system:masters"}}, tokenreview.Allowed{Users: []string{"u"}, Groups: []string{"*", "sys*"}}, "group"},
		{"system:masters by name", gitlab.Impersonate{Username: "u", Groups: []string{"system:masters"}}, tokenreview.Allowed{Users: []string{"u"}, Groups: []string{"system:masters"}}, ""},
		{"uid not allowed", gitlab.Impersonate{Username: "u", UID: "1"}, tokenreview.Allowed{Users: []string{"u"}}, "uid"},
		{"extra key not allowed", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "k", Values: []string{"v"}}}}, tokenreview.Allowed{Users: []string{"u"}}, "extra"},
		{"extra key in other case", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "Team", Values: []string{"v"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"tEAM"}}, ""},
		{"extra of the agent", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "agent.gitlab.com/ci_job_id", Values: []string{"1"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"*", "agent.gitlab.com/ci_job_id"}}, "extra"},
		{"extra of the agent in capitals", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "Agent.GitLab.com/ci_job_id", Values: []string{"1"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of jobgate", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "jobgate.io/denied", Values: []string{"1"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of a subdomain of Kubernetes", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "authentication.kubernetes.io/credential-id", Values: []string{"1"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of a domain that only ends alike", gitlab.Impersonate{Username: "u", Extra: []gitlab.ExtraKey{{Key: "notkubernetes.io/x", Values: []string{"1"}}}}, tokenreview.Allowed{Users: []string{"u"}, ExtraKeys: []string{"*"}}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID, Impersonate: row.allowed})
			as := map[string]any{"username": row.as.Username, "groups": row.as.Groups, "uid": row.as.UID, "extra": row.as.Extra}
			configuration, err := json.Marshal(map[string]any{"access_as": map[string]any{"impersonate": as}})
			if err != nil {
				t.Fatal(err)
			}
			b.reply(gitlabReply(string(configuration), ""))
			if row.refused != "" {
				rejected := wantRejected(t, b, "ci:123:"+token, tokenreview.ReasonIdentityNotAllowed)
				if !strings.Contains(rejected.Error(), "not allow: "+row.refused) {
					t.Errorf("the message does not name the %s: %s", row.refused, rejected)
				}
				return
			}
			response, ok, err := b.AuthenticateToken(b.ctx, "ci:123:"+token)
			if err != nil || !ok || response.User.GetName() != row.as.Username {
				t.Errorf("response is %+v, error is %v", response, err)
			}
		})
	}
}
