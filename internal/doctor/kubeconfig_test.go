package doctor_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func kubeconfig(change func(*clientcmdapi.Config)) func(*setup) {
	return func(s *setup) { s.writeKubeconfig(change) }
}

// user gives agent 4's user another credential.
func user(u clientcmdapi.AuthInfo) func(*setup) {
	return kubeconfig(func(c *clientcmdapi.Config) { c.AuthInfos["agent:4"] = &u })
}

// byCluster makes the current context one of `jobgate kubeconfig --cluster=prod`.
func byCluster(s *setup, token string) {
	s.writeKubeconfig(func(c *clientcmdapi.Config) {
		u, err := url.Parse(s.api.URL)
		if err != nil {
			s.t.Fatal(err)
		}
		cijob.PointAtCluster(c, "prod", token, cijob.Target{Server: u, CA: s.api.ca()})
	})
}

// byIDToken makes the current context one of an ID token with changed claims.
func byIDToken(changes map[string]any) func(*setup) {
	return func(s *setup) {
		claims, err := s.gitlab.IDTokenClaims(jobID, "https://prod.example.com")
		if err != nil {
			s.t.Fatal(err)
		}
		maps.Copy(claims, changes)
		payload, err := json.Marshal(claims)
		if err != nil {
			s.t.Fatal(err)
		}
		if s.token, err = s.gitlab.Sign(gitlabtest.CIKey, nil, payload); err != nil {
			s.t.Fatal(err)
		}
		byCluster(s, s.token) // s.token is what no report may show
	}
}

func TestRun_IDToken(t *testing.T) {
	past := time.Now().Add(-90 * time.Minute).Unix()
	for _, r := range []row{
		{name: "good", arrange: byIDToken(nil), state: doctor.OK,
			say: []string{`for the audience "https://prod.example.com", by the issuer "https://127.0.0.1`, "valid for 1h0m0s"}},
		{name: "expired", arrange: byIDToken(map[string]any{"exp": past, "iat": past - 60}), state: doctor.Failure,
			say: []string{"ended 1h30m0s ago", "run the job again"}},
		{name: "two audiences", arrange: byIDToken(map[string]any{"aud": []string{"https://prod.example.com", "vault"}}), state: doctor.Failure,
			say: []string{"it has 2 audiences", "with one aud"}},
		{name: "another job's", arrange: byIDToken(map[string]any{"job_id": "7"}), state: doctor.Failure,
			say: []string{"the ID token is job 7's, and this is job 1001", "cache or an artifact"}},
		{name: "of a GitLab that is too old", arrange: byIDToken(map[string]any{"job_project_id": ""}), state: doctor.Failure,
			say: []string{"GitLab 18.3 or later is needed"}},
		{name: "without an end", arrange: byIDToken(map[string]any{"exp": nil, "iat": nil}), state: doctor.Failure, say: []string{"does not say when it ends"}},
		{name: "a fork's merge request", arrange: byIDToken(map[string]any{"project_id": "666"}), state: doctor.Warning,
			say: []string{"in a fork's merge request", "its user has no role"}},
		{name: "a merge request", arrange: byIDToken(map[string]any{"pipeline_source": "merge_request_event"}), state: doctor.Warning,
			say: []string{"in a merge request's pipeline", "pipeline of a branch or tag"}, not: []string{"fork"}},
		{name: "another issuer", state: doctor.Warning, say: []string{"is idTokens.issuer the token's?"}, arrange: func(s *setup) {
			s.vars["CI_SERVER_URL"] = "https://gitlab.example.com"
			byIDToken(nil)(s)
		}},
		{name: "GitLab's own issuer", state: doctor.OK, arrange: func(s *setup) {
			s.vars["CI_SERVER_URL"] = s.gitlab.URL()
			byIDToken(nil)(s)
		}},
		{name: "no token of three parts", arrange: func(s *setup) { byCluster(s, "no-token-at-all") }, state: doctor.Failure, say: []string{"not of three parts"}},
	} {
		r.finding = "id-token"
		t.Run(r.name, r.check)
	}
}

func TestRun_NoIDToken(t *testing.T) {
	if _, found := states(newSetup(t).run())["id-token"]; found {
		t.Error("the report of a job without an ID token has a line about it")
	}
}

func TestRun_Kubeconfig(t *testing.T) {
	noCurrent := func(c *clientcmdapi.Config) { c.CurrentContext = "" }
	rows := []row{
		{name: "the current context", finding: "kubeconfig", state: doctor.OK,
			say: []string{`context "acme/agents:prod" (current-context): agent 4, namespace "web"`}},
		{name: "none", arrange: set("KUBECONFIG", "/nonexistent"), finding: "kubeconfig", state: doctor.Failure,
			say: []string{`KUBECONFIG is "/nonexistent", and there is no such file`, "--agent=ID"}, not: []string{"not set"}},
		{name: "no KUBECONFIG", arrange: set("KUBECONFIG", ""), finding: "kubeconfig", state: doctor.Failure,
			say: []string{"KUBECONFIG is not set", "lists an agent", "KAS", "--agent=ID"}, not: []string{"no such file"}},
		{name: "none, but an agent", arrange: func(s *setup) { s.vars["KUBECONFIG"], s.options.AgentID = "/nonexistent", 4 },
			finding: "kubeconfig", state: doctor.Warning,
			say: []string{"there is no context of agent 4 (the kubeconfig has none)", "jobgate kubeconfig --agent=4"}},
		{name: "none of the agent", arrange: ofAgent(13), finding: "kubeconfig", state: doctor.Warning,
			say: []string{"there is no context of agent 13", `"acme/agents:prod"`}},
		{name: "the home's", arrange: func(s *setup) {
			home := s.t.TempDir()
			if err := os.MkdirAll(home+"/.kube", 0o700); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Rename(s.vars["KUBECONFIG"], home+"/.kube/config"); err != nil {
				s.t.Fatal(err)
			}
			s.vars["KUBECONFIG"], s.vars["HOME"] = "", home
		}, finding: "kubeconfig", state: doctor.OK, say: []string{"acme/agents:prod"}},
		{name: "several files", arrange: func(s *setup) { s.vars["KUBECONFIG"] = "/nonexistent:" + s.vars["KUBECONFIG"] },
			finding: "kubeconfig", state: doctor.OK},
		{name: "no kubeconfig at all", arrange: func(s *setup) {
			if err := os.WriteFile(s.vars["KUBECONFIG"], []byte(s.token), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}, finding: "kubeconfig", state: doctor.Failure, say: []string{"read the kubeconfig", "write it again"}},
		{name: "GitLab's, without a choice", arrange: kubeconfig(noCurrent), finding: "kubeconfig", state: doctor.Failure,
			say: []string{"localhost:8080", `"acme/agents:prod"`, "kubectl config use-context"}},
		{name: "GitLab's, with JOBGATE_CONTEXT", arrange: func(s *setup) {
			s.writeKubeconfig(noCurrent)
			s.vars["JOBGATE_CONTEXT"] = prodContext
		}, finding: "kubeconfig", state: doctor.Warning, say: []string{"(JOBGATE_CONTEXT): agent 4", "kubectl would use none"}},
		{name: "GitLab's, with the only context", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) { w.Agents = w.Agents[:1] })
			s.writeKubeconfig(noCurrent)
		}, finding: "kubeconfig", state: doctor.Warning, say: []string{"(the only one): agent 4"}},
		{name: "a JOBGATE_CONTEXT that is not there, beside another current context", arrange: set("JOBGATE_CONTEXT", "acme/agents:pord"),
			finding: "kubeconfig",
			state:   doctor.Warning, say: []string{`agent 4`, `but JOBGATE_CONTEXT is "acme/agents:pord", and there is no such context`, "correct JOBGATE_CONTEXT"}},
		{name: "another JOBGATE_CONTEXT than the current context", arrange: set("JOBGATE_CONTEXT", "acme/agents:plain"),
			finding: "kubeconfig", state: doctor.Warning,
			say: []string{`but JOBGATE_CONTEXT is "acme/agents:plain"`, "kubectl uses the current context"}},
		{name: "JOBGATE_CONTEXT is the current context", arrange: set("JOBGATE_CONTEXT", prodContext),
			finding: "kubeconfig", state: doctor.OK, not: []string{"JOBGATE_CONTEXT"}},
		{name: "GitLab's choice of a certificate-based cluster", arrange: kubeconfig(func(c *clientcmdapi.Config) {
			c.AuthInfos["gitlab-deploy"] = &clientcmdapi.AuthInfo{Token: "certificate-cluster"}
			c.Contexts["gitlab-deploy"] = &clientcmdapi.Context{Cluster: "own", AuthInfo: "gitlab-deploy"}
			c.CurrentContext = "gitlab-deploy"
		}), finding: "kubeconfig", state: doctor.Failure, say: []string{"connected to a cluster with certificates", "use the context of an agent"}},
		{name: "a cluster's name", arrange: func(s *setup) { byCluster(s, "ci:prod:"+s.token) }, finding: "kubeconfig", state: doctor.OK,
			say: []string{"cluster prod, without an agent"}},
		{name: "a cluster's name, and the agent", arrange: func(s *setup) { byCluster(s, "ci:prod:"+s.token) },
			finding: "agent", state: doctor.NotChecked,
			say: []string{"logs in to cluster prod without an agent"}},
		{name: "a cluster's name, and the identity", arrange: func(s *setup) { byCluster(s, "ci:prod:"+s.token) },
			finding: "identity", state: doctor.OK},
		{name: "a cluster's name with an ID token", arrange: func(s *setup) { byCluster(s, "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk") },
			finding: "identity", state: doctor.OK},
		{name: "a cluster's name with another job's token",
			arrange: func(s *setup) { byCluster(s, "ci:prod:glcbt-64_AnotherAnotherAnothe") },
			finding: "kubeconfig", state: doctor.Failure, say: []string{"another token than this job's"}, not: []string{"Another"}},
		{name: "another context", arrange: func(s *setup) { s.options.Context = "acme/agents:plain" },
			finding: "kubeconfig", state: doctor.Warning,
			say: []string{`context "acme/agents:plain" (--context): agent 5`, `kubectl would use context "acme/agents:prod"`}},
		{name: "the agent's context", arrange: ofAgent(5), finding: "kubeconfig", state: doctor.Warning,
			say: []string{`"acme/agents:plain" (--agent): agent 5`}},
		{name: "the current agent's context", arrange: ofAgent(4), finding: "kubeconfig", state: doctor.OK,
			say: []string{`"acme/agents:prod" (--agent): agent 4`}},
		{name: "a context that is not there", arrange: func(s *setup) { s.options.Context = "acme/agents:other" },
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{`there is no context "acme/agents:other" (--context)`, `"acme/agents:prod"`}},
		{name: "a context of another agent", arrange: func(s *setup) { s.options.Context, s.options.AgentID = prodContext, 5 },
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"its user is not agent 5, but agent 4"}},
		{name: "another job's token", arrange: user(clientcmdapi.AuthInfo{Token: "ci:4:glcbt-64_AnotherAnotherAnothe"}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"another token than this job's CI_JOB_TOKEN", "in a cache"}, not: []string{"Another"}},
		{name: "no token behind the agent", arrange: user(clientcmdapi.AuthInfo{Token: "ci:4:"}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"the job token is empty"}},
		{name: "a token that is none of jobgate's", arrange: user(clientcmdapi.AuthInfo{Token: "eyJhbGciOiJSUzI1NiIsIm"}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"is not one for jobgate"}, not: []string{"eyJhbGci"}},
		{name: "a client certificate", arrange: user(clientcmdapi.AuthInfo{ClientCertificate: "/c", ClientKey: "/k"}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"presents a client certificate", "use the context of an agent"}},
		{name: "a plugin", arrange: user(clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "false"}}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"a token from a plugin"}},
		{name: "a password", arrange: user(clientcmdapi.AuthInfo{Username: "u", Password: "SecretPassword"}),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"presents a password"}, not: []string{"SecretPassword"}},
		{name: "a token file", arrange: user(clientcmdapi.AuthInfo{TokenFile: "/token"}), finding: "kubeconfig", state: doctor.Failure,
			say: []string{"a token from a file"}},
		{name: "no user", arrange: kubeconfig(func(c *clientcmdapi.Config) { delete(c.AuthInfos, "agent:4") }),
			finding: "kubeconfig", state: doctor.Failure,
			say: []string{"presents nothing"}},
		{name: "an empty user", arrange: user(clientcmdapi.AuthInfo{}), finding: "kubeconfig", state: doctor.Failure,
			say: []string{"presents nothing"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// A job's own token is looked for in reports; those of a kubeconfig are, too.
func TestRun_ShowsNoOtherSecretOfTheKubeconfig(t *testing.T) {
	const other = "glcbt-64_OtherOtherOtherOt12"
	s := newSetup(t)
	s.writeKubeconfig(func(c *clientcmdapi.Config) {
		c.AuthInfos["agent:4"].Token = "ci:4:" + other
		c.Clusters["own"].Server = "https://" + other + ".example.com"
	})
	s.options.Resolver = resolver{}
	for _, f := range s.run().Findings {
		if strings.Contains(text(f), "OtherOther") {
			t.Errorf("%s shows a token", f.Name)
		}
	}
}

// A kubeconfig written by hand (GitLab 14.1), in a job that has unset its variables.
func TestRun_TokenOnlyInTheKubeconfig(t *testing.T) {
	s := newSetup(t)
	s.vars["CI_JOB_TOKEN"] = ""
	if f := finding(t, s.run(), "kubeconfig"); f.State != doctor.Failure || !strings.Contains(f.What, cijob.VarJobToken) {
		t.Errorf("kubeconfig is %s: %s", f.State, text(f))
	}
	if len(s.api.seen) != 0 {
		t.Error("a token that GitLab has not confirmed was sent to the API server")
	}
}
