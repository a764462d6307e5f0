package tokenreview_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is an authenticator in front of a fake GitLab, with everything real between them.
type bench struct {
	*tokenreview.Authenticator
	gitlab *gitlabtest.Server
	log    *bytes.Buffer
	ctx    context.Context
}

const (
	agentID = 123
	token   = "asdfgasdfxadf" // of KAS's own vectors; no real token has this shape
)

func newBench(t *testing.T, world gitlabtest.Instance, agents ...tokenreview.Agent) *bench {
	t.Helper()
	b := &bench{gitlab: gitlabtest.New(t, world), log: &bytes.Buffer{}}
	client, err := gitlab.New(gitlab.Options{
		URL: b.gitlab.URL(), Timeout: 5 * time.Second, MaxInFlight: 64, RequestsPerSecond: 1e4, Burst: 1e4,
		RetryInterval: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	config := configOf(agents...)
	registry, err := job.NewRegistry(job.Sources{JobTokens: client, Facts: client, Statuses: client}, job.Settings{
		FreshFor: time.Minute, StaleFor: time.Minute, RejectedFor: time.Minute, MaxJobs: 100, MaxRejected: 100,
		Timeout: 10 * time.Second, Needs: config.Policy.Needs,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { registry.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); client.Close() })
	b.Authenticator = tokenreview.New(registry, config, decision.NewLog(nil, nil))
	b.ctx = klog.NewContext(t.Context(),
		textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(b.log), textlogger.Verbosity(10))))
	return b
}

// configOf is the configuration of a cluster with these agents, and no rules.
func configOf(agents ...tokenreview.Agent) tokenreview.Config {
	rules := policy.Rules{FiltersProtectedBranches: true}
	for _, a := range agents {
		rules.Agents = append(rules.Agents, policy.Agent{ID: a.ID})
	}
	return tokenreview.Config{Policy: policy.Compile(rules), Agents: agents}
}

// reply makes GitLab answer every lookup with this body.
func (b *bench) reply(body string) {
	b.gitlab.Fault(gitlabtest.Fault{
		Endpoint: gitlabtest.AllowedAgents, Status: 200, ContentType: "application/json", Body: body,
	})
}

// gitlabReply is the base reply of KAS's own tests (kubernetes_api/server/proxy_test.go), for one agent's configuration
// and an environment, both JSON; empty for none.
func gitlabReply(configuration, environment string) string {
	agent := `{"id":123,"config_project":{"id":5}`
	if configuration != "" {
		agent += `,"configuration":` + configuration
	}
	return repliedAgents(agent+"}", environment)
}

func repliedAgents(agents, environment string) string {
	body := `{"allowed_agents":[` + agents + `],"job":{"id":1},"pipeline":{"id":2},` +
		`"project":{"id":3,"groups":[{"id":6}]},"user":{"id":456,"username":"testuser"}`
	if environment != "" {
		body += `,"environment":` + environment
	}
	return body + "}"
}

// identity is what a TokenReview shows of a user.
type identity struct {
	Name, UID string
	Groups    []string
	Extra     map[string][]string
}

func of(u user.Info) identity {
	return identity{Name: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

// e0 are the extras of every identity made from gitlabReply, and more.
func e0(more ...string) map[string][]string {
	extra := map[string][]string{
		"agent.gitlab.com/id": {"123"}, "agent.gitlab.com/config_project_id": {"5"}, "agent.gitlab.com/project_id": {"3"},
		"agent.gitlab.com/ci_pipeline_id": {"2"}, "agent.gitlab.com/ci_job_id": {"1"}, "agent.gitlab.com/username": {"testuser"},
	}
	for i := 0; i < len(more); i += 2 {
		extra[more[i]] = strings.Split(more[i+1], ",")
	}
	return extra
}

const prod = `{"slug":"prod","tier":"production"}`

var prodExtra = []string{"agent.gitlab.com/environment_slug", "prod", "agent.gitlab.com/environment_tier", "production"}

// The identity table of the design and the vectors of KAS. Where KAS runs a request as agentk's own ServiceAccount,
// jobgate has no such thing and needs its own name: that is the first group of rows.
func TestAuthenticateToken_Identity(t *testing.T) {
	bare := identity{Name: "gitlab:agent:123", Groups: []string{"gitlab:agent"}, Extra: e0()}
	deployer := tokenreview.Agent{ID: agentID, ServiceAccountNamespace: "ns", ServiceAccountName: "deployer"}
	anyone := tokenreview.Agent{ID: agentID, Impersonate: policy.Impersonate{
		Users: []string{"*"}, Groups: []string{"*"}, UIDs: []string{"*"}, ExtraKeys: []string{"*"},
	}}
	rows := []struct {
		name          string
		agent         tokenreview.Agent
		configuration string
		environment   string
		want          identity
	}{
		{name: "KAS 1: no configuration", want: bare},
		{name: "KAS 2: agent", configuration: `{"access_as":{"agent":{}}}`, want: bare},
		{name: "KAS 9: null", configuration: `null`, want: bare},
		{name: "KAS 9: empty", configuration: `{}`, want: bare},
		{name: "KAS 9: access_as null", configuration: `{"access_as":null}`, want: bare},
		{name: "KAS 9: only a namespace", configuration: `{"default_namespace":"x"}`, want: bare},
		{name: "KAS 12, which refuses every agent of the job: empty access_as is the agent", configuration: `{"access_as":{}}`, want: bare},
		{name: "agent in an environment", environment: prod, want: identity{
			Name: "gitlab:agent:123", Groups: []string{"gitlab:agent"}, Extra: e0(prodExtra...)}},
		{name: "agent with a ServiceAccount", agent: deployer, want: identity{
			Name:   "system:serviceaccount:ns:deployer",
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:ns"}, Extra: e0()}},

		{name: "KAS 4: ci_job", configuration: `{"access_as":{"ci_job":{}}}`, want: identity{
			Name: "gitlab:ci_job:1", Groups: []string{"gitlab:ci_job", "gitlab:group:6", "gitlab:project:3"}, Extra: e0()}},
		{name: "KAS 5: ci_job in an environment", configuration: `{"access_as":{"ci_job":{}}}`, environment: prod, want: identity{
			Name: "gitlab:ci_job:1",
			Groups: []string{"gitlab:ci_job", "gitlab:group:6", "gitlab:group_env_tier:6:production", "gitlab:project:3",
				"gitlab:project_env:3:prod", "gitlab:project_env_tier:3:production"},
			Extra: e0(prodExtra...)}},
		{name: "KAS 15: environment null", configuration: `{"access_as":{"ci_job":{}}}`, environment: `null`, want: identity{
			Name: "gitlab:ci_job:1", Groups: []string{"gitlab:ci_job", "gitlab:group:6", "gitlab:project:3"}, Extra: e0()}},

		{name: "KAS 3: impersonate, with the extras that KAS leaves out", agent: anyone,
			configuration: `{"access_as":{"impersonate":{"username":"user1","groups":["g1","g2"],"uid":"uid","extra":[{"key":"k1","val":["v1","v2"]}]}}}`,
			want:          identity{Name: "user1", UID: "uid", Groups: []string{"g1", "g2"}, Extra: e0("k1", "v1,v2")}},
		{name: "KAS 14: the last of equal extra keys wins, and keys are lower case", agent: anyone,
			configuration: `{"access_as":{"impersonate":{"username":"user1","extra":[{"key":"K1","val":["v1"]},{"key":"k1","val":["v2"]}]}}}`,
			want:          identity{Name: "user1", Extra: e0("k1", "v2")}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.agent.ID == 0 {
				row.agent.ID = agentID
			}
			b := newBench(t, gitlabtest.Instance{}, row.agent)
			b.reply(gitlabReply(row.configuration, row.environment))
			response, ok, err := b.AuthenticateToken(b.ctx, "ci:123:"+token)
			if err != nil || !ok {
				t.Fatalf("ok is %t, error is %v", ok, err)
			}
			if diff := cmp.Diff(row.want, of(response.User)); diff != "" {
				t.Errorf("identity (-want +got):\n%s", diff)
			}
			if response.Audiences != nil {
				t.Errorf("audiences are %q, a job token has none", response.Audiences)
			}
		})
	}
}

func TestAuthenticateToken_RejectsAgentsThatCannotBeUsed(t *testing.T) {
	rows := []struct {
		name   string
		agents string // JSON entries of allowed_agents
		want   tokenreview.Reason
	}{
		{"KAS 6: another agent is listed", `{"id":15,"config_project":{"id":5}}`, tokenreview.ReasonNotListed},
		{"no agent is listed", ``, tokenreview.ReasonNotListed},
		{"KAS 11: unknown mode", `{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"ci_user":{}}}}`, tokenreview.ReasonConfiguration},
		{"KAS 12: mode null", `{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"agent":null}}}`, tokenreview.ReasonConfiguration},
		{"KAS 13: two modes", `{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"agent":{},"ci_job":{}}}}`, tokenreview.ReasonConfiguration},
		{"no config project", `{"id":123,"configuration":{}}`, tokenreview.ReasonConfiguration},
		{"impersonate no user", `{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"impersonate":{}}}}`, tokenreview.ReasonConfiguration},
		{"impersonate, nothing allowed", `{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"impersonate":{"username":"u"}}}}`, tokenreview.ReasonIdentityNotAllowed},
	}
	const good = `{"id":124,"config_project":{"id":5},"configuration":{"access_as":{"ci_job":{}}}}`
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID}, tokenreview.Agent{ID: 124})
			b.reply(repliedAgents(strings.TrimPrefix(row.agents+","+good, ","), ""))
			rejected := wantRejected(t, b, "ci:123:"+token, row.want)
			if rejected.Job == nil || rejected.Job.ID != 1 || rejected.AgentID != agentID {
				t.Errorf("the rejection names agent %d and job %+v", rejected.AgentID, rejected.Job)
			}
			// KAS refuses every agent of such a job; the good one beside it must not suffer.
			if _, ok, err := b.AuthenticateToken(b.ctx, "ci:124:"+token); !ok || err != nil {
				t.Errorf("the good agent beside it: ok is %t, error is %v", ok, err)
			}
			if got := b.gitlab.Calls(gitlabtest.AllowedAgents); got != 1 {
				t.Errorf("GitLab was asked %d times for two agents of one job, want once", got)
			}
		})
	}
}

// wantRejected asserts the reason, the log line, and that nothing of the token is in either.
func wantRejected(t *testing.T, b *bench, credential string, want tokenreview.Reason) *tokenreview.RejectedError {
	t.Helper()
	response, ok, err := b.AuthenticateToken(b.ctx, credential)
	var rejected *tokenreview.RejectedError
	if !errors.As(err, &rejected) || ok || response != nil {
		t.Fatalf("response is %+v, ok is %t, error is %v; want a rejection", response, ok, err)
	}
	if rejected.Reason != want {
		t.Errorf("reason is %s (%s), want %s", rejected.Reason, rejected, want)
	}
	if !strings.Contains(b.log.String(), string(want)) {
		t.Errorf("no log line gives the reason %s: %s", want, b.log)
	}
	wantNoTrace(t, b, err, credential)
	return rejected
}

// wantNoTrace asserts that no piece of the credential of six bytes or more is in the error or the log. A well-formed
// agent id is no secret, and is named.
func wantNoTrace(t *testing.T, b *bench, err error, credential string) {
	t.Helper()
	for _, piece := range strings.FieldsFunc(credential, func(r rune) bool { return r == ':' }) {
		if _, err := strconv.ParseInt(piece, 10, 64); len(piece) < 6 || err == nil {
			continue
		}
		for i := 0; i+6 <= min(len(piece), 200); i++ {
			if part := piece[i : i+6]; strings.Contains(fmt.Sprintf("%+v", err), part) || strings.Contains(b.log.String(), part) {
				t.Fatalf("a piece of the token (its bytes %d to %d) is in the error or the log", i, i+6)
			}
		}
	}
}

func TestAuthenticateToken_DuplicateEntriesFirstCounts(t *testing.T) {
	b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID})
	b.reply(repliedAgents(`{"id":123,"config_project":{"id":5},"configuration":{"access_as":{"ci_job":{}}}},`+
		`{"id":123,"config_project":{"id":5},"configuration":{}}`, ""))
	response, _, err := b.AuthenticateToken(b.ctx, "ci:123:"+token)
	if err != nil || response.User.GetName() != "gitlab:ci_job:1" {
		t.Errorf("KAS 10: %+v, %v; want the first entry, ci_job", response, err)
	}
}

// KAS 16 and 8: what the reply as a whole must have.
func TestAuthenticateToken_ReplyAsAWhole(t *testing.T) {
	t.Run("KAS 8: no groups", func(t *testing.T) {
		for _, groups := range []string{`,"groups":[]`, ``} {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID})
			body := gitlabReply(`{"access_as":{"ci_job":{}}}`, "")
			b.reply(strings.Replace(body, `,"groups":[{"id":6}]`, groups, 1))
			response, _, err := b.AuthenticateToken(b.ctx, "ci:123:"+token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"gitlab:ci_job", "gitlab:project:3"}, response.User.GetGroups()); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		}
	})
	for name, environment := range map[string]string{
		"KAS 16: empty slug and tier":  `{"slug":"","tier":""}`,
		"KAS 16: tier missing":         `{"slug":"prod"}`,
		"slug that would forge groups": `{"slug":"prod:production","tier":"other"}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID})
			b.reply(gitlabReply(`{"access_as":{"ci_job":{}}}`, environment))
			_, ok, err := b.AuthenticateToken(b.ctx, "ci:123:"+token)
			var rejected *tokenreview.RejectedError
			if ok || err == nil || errors.As(err, &rejected) {
				t.Errorf("ok is %t, error is %v; want undecided", ok, err)
			}
			wantNoTrace(t, b, err, "ci:123:"+token)
		})
	}
}

// world is one job with a real agent, for what GitLab itself says.
func world(tokenFormat string) gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{{ID: agentID, Name: "agent-name", Project: 150}},
		Jobs: []gitlabtest.Job{{
			ID: 1001, Project: 150, User: 9, Status: "running", Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main"}, TokenFormat: tokenFormat,
		}},
		Tokens: []gitlabtest.AccessToken{{Token: "glpat-PersonalPersonal", User: 9, Scopes: []string{"api"}}},
	}
}

func TestAuthenticateToken_TokenFormats(t *testing.T) {
	for _, format := range []string{"database", "jwt", "legacy", "partition"} {
		t.Run("format "+format, func(t *testing.T) {
			w := world(format)
			w.Settings.AcceptsAnyTokenShape = true
			w.Settings.InstanceTokenPrefix = "our-gitlab"
			b := newBench(t, w, tokenreview.Agent{ID: agentID})
			state := b.gitlab.Instance()
			if _, ok, err := b.AuthenticateToken(b.ctx, "ci:123:"+state.Job(1001).Token); !ok || err != nil {
				t.Errorf("ok is %t, error is %v", ok, err)
			}
		})
	}
}

func TestAuthenticateToken_GitLabsDefiniteRefusals(t *testing.T) {
	rows := []struct {
		name   string
		change func(*gitlabtest.Instance)
		fault  *gitlabtest.Fault
		want   tokenreview.Reason
	}{
		{name: "ended job", change: func(w *gitlabtest.Instance) { w.Job(1001).Status = "failed" }, want: tokenreview.ReasonNotRunning},
		{name: "blocked user", change: func(w *gitlabtest.Instance) { w.User(9).DeniedReason = "Your account has been blocked." }, want: tokenreview.ReasonForbiddenUser},
		{name: "not a job's token", fault: &gitlabtest.Fault{Status: 404, ContentType: "application/json", Body: `{"message":"404 Job Not Found"}`}, want: tokenreview.ReasonNotAJobToken},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, world(""), tokenreview.Agent{ID: agentID})
			state := b.gitlab.Instance()
			if row.change != nil {
				if err := b.gitlab.Update(row.change); err != nil {
					t.Fatal(err)
				}
			} else {
				row.fault.Endpoint = gitlabtest.AllowedAgents
				b.gitlab.Fault(*row.fault)
			}
			for range 3 {
				wantRejected(t, b, "ci:123:"+state.Job(1001).Token, row.want)
			}
			if got := b.gitlab.Calls(gitlabtest.AllowedAgents); got != 1 {
				t.Errorf("GitLab was asked %d times, want once: a definite refusal is remembered", got)
			}
		})
	}
}

func TestAuthenticateToken_OneLogLinePerJob(t *testing.T) {
	b := newBench(t, world(""), tokenreview.Agent{ID: agentID})
	state := b.gitlab.Instance()
	for range 5 {
		if _, _, err := b.AuthenticateToken(b.ctx, "ci:123:"+state.Job(1001).Token); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(b.log.String(), "\n"); got != 1 {
		t.Fatalf("%d lines for five uses of one job, want one:\n%s", got, b.log)
	}
	for _, field := range []string{"job=1001", "project=150", "pipeline=501", "user=9", "agent=123", `as="gitlab:agent:123"`} {
		if !strings.Contains(b.log.String(), field) {
			t.Errorf("the line lacks %s: %s", field, b.log)
		}
	}
	wantNoTrace(t, b, nil, state.Job(1001).Token)
}

// A flood of bad tokens leaves a bounded log, and the line of a login in it.
func TestAuthenticateToken_FloodDoesNotEraseLogins(t *testing.T) {
	b := newBench(t, world(""), tokenreview.Agent{ID: agentID})
	state := b.gitlab.Instance()
	for range 5000 {
		if _, _, err := b.AuthenticateToken(b.ctx, "ci:0:x"); err == nil {
			t.Fatal("no error")
		}
	}
	if got := strings.Count(b.log.String(), "\n"); got < 1000 || got > 2500 {
		t.Errorf("%d lines for 5,000 bad tokens, want the burst of 1,000 and few more", got)
	}
	if _, _, err := b.AuthenticateToken(b.ctx, "ci:123:"+state.Job(1001).Token); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.log.String(), "Job logged in") {
		t.Error("the login after the flood has no line")
	}
}

func TestConfigure_TakesEffectForTheNextToken(t *testing.T) {
	b := newBench(t, world(""), tokenreview.Agent{ID: agentID})
	state := b.gitlab.Instance()
	credential := "ci:123:" + state.Job(1001).Token
	if _, ok, err := b.AuthenticateToken(b.ctx, credential); !ok || err != nil {
		t.Fatal(err)
	}
	b.Configure(configOf(tokenreview.Agent{ID: 124}))
	wantRejected(t, b, credential, tokenreview.ReasonUnknownAgent)
}
