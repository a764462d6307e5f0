package tokenreview_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

func TestAuthenticateToken_ImpersonateAllowlists(t *testing.T) {
	rows := []struct {
		name    string
		as      job.Impersonate
		allowed policy.Impersonate
		refused string // a word of the message; empty: allowed
	}{
		{"nothing is allowed by default", job.Impersonate{Username: "u"}, policy.Impersonate{}, "user"},
		{"exact user", job.Impersonate{Username: "u"}, policy.Impersonate{Users: []string{"u"}}, ""},
		{"another user", job.Impersonate{Username: "uu"}, policy.Impersonate{Users: []string{"u"}}, "user"},
		{"other case", job.Impersonate{Username: "U"}, policy.Impersonate{Users: []string{"u"}}, "user"},
		{"prefix", job.Impersonate{Username: "deploy-web"}, policy.Impersonate{Users: []string{"deploy-*"}}, ""},
		{"prefix itself", job.Impersonate{Username: "deploy-"}, policy.Impersonate{Users: []string{"deploy-*"}}, ""},
		{"before the prefix", job.Impersonate{Username: "no-deploy-web"}, policy.Impersonate{Users: []string{"deploy-*"}}, "user"},
		{"a star elsewhere is a character", job.Impersonate{Username: "a-b"}, policy.Impersonate{Users: []string{"*-b"}}, "user"},
		{"system user by the widest prefix", job.Impersonate{Username: "system:admin"}, policy.Impersonate{Users: []string{"*"}}, "user"},
		{"system user by its own prefix", job.Impersonate{Username: "system:admin"}, policy.Impersonate{Users: []string{"system:*"}}, "user"},
		{"system user by name", job.Impersonate{Username: "system:serviceaccount:a:b"}, policy.Impersonate{Users: []string{"system:serviceaccount:a:b"}}, ""},
		{"group not allowed", job.Impersonate{Username: "u", Groups: []string{"g", "h"}}, policy.Impersonate{Users: []string{"u"}, Groups: []string{"g"}}, "group"},
		{"system:masters by prefix", job.Impersonate{Username: "u", Groups: []string{"system:masters"}}, policy.Impersonate{Users: []string{"u"}, Groups: []string{"*", "sys*"}}, "group"},
		{"system:masters by name", job.Impersonate{Username: "u", Groups: []string{"system:masters"}}, policy.Impersonate{Users: []string{"u"}, Groups: []string{"system:masters"}}, ""},
		{"uid not allowed", job.Impersonate{Username: "u", UID: "1"}, policy.Impersonate{Users: []string{"u"}}, "uid"},
		{"extra key not allowed", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "k", Values: []string{"v"}}}}, policy.Impersonate{Users: []string{"u"}}, "extra"},
		{"extra key in other case", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "Team", Values: []string{"v"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"tEAM"}}, ""},
		{"extra of the agent", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "agent.gitlab.com/ci_job_id", Values: []string{"1"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*", "agent.gitlab.com/ci_job_id"}}, "extra"},
		{"extra of the agent in capitals", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "Agent.GitLab.com/ci_job_id", Values: []string{"1"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of jobgate", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "jobgate.io/denied", Values: []string{"1"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of a subdomain of Kubernetes", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "authentication.kubernetes.io/credential-id", Values: []string{"1"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*"}}, "extra"},
		{"extra of a domain that only ends alike", job.Impersonate{Username: "u", Extra: []job.ExtraKey{{Key: "notkubernetes.io/x", Values: []string{"1"}}}}, policy.Impersonate{Users: []string{"u"}, ExtraKeys: []string{"*"}}, ""},
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
