package doctor_test

import (
	"net/url"
	"os"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func kubeconfig(change func(*clientcmdapi.Config)) func(*scene) {
	return func(s *scene) { s.writeKubeconfig(change) }
}

// user gives agent 4's user another credential.
func user(u clientcmdapi.AuthInfo) func(*scene) {
	return kubeconfig(func(c *clientcmdapi.Config) { c.AuthInfos["agent:4"] = &u })
}

// byCluster makes the current context one of `jobgate kubeconfig --cluster=prod`.
func byCluster(s *scene, token string) {
	s.writeKubeconfig(func(c *clientcmdapi.Config) {
		u, err := url.Parse(s.api.URL)
		if err != nil {
			s.t.Fatal(err)
		}
		cijob.PointAtCluster(c, "prod", token, cijob.Target{Server: u, CA: s.api.ca()})
	})
}

func TestRun_Kubeconfig(t *testing.T) {
	noCurrent := func(c *clientcmdapi.Config) { c.CurrentContext = "" }
	rows := []row{
		{"the current context", func(*scene) {}, "kubeconfig", doctor.OK,
			[]string{`context "acme/agents:prod" (current-context): agent 4, namespace "web"`}, nil},
		{"none", set("KUBECONFIG", "/nonexistent"), "kubeconfig", doctor.Failure, []string{`KUBECONFIG is "/nonexistent", and there is no such file`, "--agent=ID"}, []string{"not set"}},
		{"no KUBECONFIG", set("KUBECONFIG", ""), "kubeconfig", doctor.Failure,
			[]string{"KUBECONFIG is not set", "lists an agent", "KAS", "--agent=ID"}, []string{"no such file"}},
		{"none, but an agent", func(s *scene) { s.vars["KUBECONFIG"], s.options.AgentID = "/nonexistent", 4 }, "kubeconfig", doctor.Warning,
			[]string{"there is no context of agent 4 (the kubeconfig has none)", "jobgate kubeconfig --agent=4"}, nil},
		{"none of the agent", ofAgent(13), "kubeconfig", doctor.Warning, []string{"there is no context of agent 13", `"acme/agents:prod"`}, nil},
		{"the home's", func(s *scene) {
			home := s.t.TempDir()
			if err := os.MkdirAll(home+"/.kube", 0o700); err != nil {
				s.t.Fatal(err)
			}
			if err := os.Rename(s.vars["KUBECONFIG"], home+"/.kube/config"); err != nil {
				s.t.Fatal(err)
			}
			s.vars["KUBECONFIG"], s.vars["HOME"] = "", home
		}, "kubeconfig", doctor.OK, []string{"acme/agents:prod"}, nil},
		{"several files", func(s *scene) { s.vars["KUBECONFIG"] = "/nonexistent:" + s.vars["KUBECONFIG"] }, "kubeconfig", doctor.OK, nil, nil},
		{"no kubeconfig at all", func(s *scene) {
			if err := os.WriteFile(s.vars["KUBECONFIG"], []byte(s.token), 0o600); err != nil {
				s.t.Fatal(err)
			}
		}, "kubeconfig", doctor.Failure, []string{"read the kubeconfig", "write it again"}, nil},
		{"GitLab's, without a choice", kubeconfig(noCurrent), "kubeconfig", doctor.Failure,
			[]string{"localhost:8080", `"acme/agents:prod"`, "kubectl config use-context"}, nil},
		{"GitLab's, with JOBGATE_CONTEXT", func(s *scene) {
			s.writeKubeconfig(noCurrent)
			s.vars["JOBGATE_CONTEXT"] = prodContext
		}, "kubeconfig", doctor.Warning, []string{"(JOBGATE_CONTEXT): agent 4", "kubectl would use none"}, nil},
		{"GitLab's, with the only context", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) { w.Agents = w.Agents[:1] })
			s.writeKubeconfig(noCurrent)
		}, "kubeconfig", doctor.Warning, []string{"(the only one): agent 4"}, nil},
		{"a JOBGATE_CONTEXT that is not there, beside another current context", set("JOBGATE_CONTEXT", "acme/agents:pord"), "kubeconfig",
			doctor.Warning, []string{`agent 4`, `but JOBGATE_CONTEXT is "acme/agents:pord", and there is no such context`, "correct JOBGATE_CONTEXT"}, nil},
		{"another JOBGATE_CONTEXT than the current context", set("JOBGATE_CONTEXT", "acme/agents:plain"), "kubeconfig", doctor.Warning,
			[]string{`but JOBGATE_CONTEXT is "acme/agents:plain"`, "kubectl uses the current context"}, nil},
		{"JOBGATE_CONTEXT is the current context", set("JOBGATE_CONTEXT", prodContext), "kubeconfig", doctor.OK, nil, []string{"JOBGATE_CONTEXT"}},
		{"GitLab's choice of a certificate-based cluster", kubeconfig(func(c *clientcmdapi.Config) {
			c.AuthInfos["gitlab-deploy"] = &clientcmdapi.AuthInfo{Token: "certificate-cluster"}
			c.Contexts["gitlab-deploy"] = &clientcmdapi.Context{Cluster: "own", AuthInfo: "gitlab-deploy"}
			c.CurrentContext = "gitlab-deploy"
		}), "kubeconfig", doctor.Failure, []string{"connected to a cluster with certificates", "use the context of an agent"}, nil},
		{"a cluster's name", func(s *scene) { byCluster(s, "ci:prod:"+s.token) }, "kubeconfig", doctor.OK,
			[]string{"cluster prod, without an agent"}, nil},
		{"a cluster's name, and the agent", func(s *scene) { byCluster(s, "ci:prod:"+s.token) }, "agent", doctor.NotChecked,
			[]string{"logs in to cluster prod without an agent"}, nil},
		{"a cluster's name, and the identity", func(s *scene) { byCluster(s, "ci:prod:"+s.token) }, "identity", doctor.OK, nil, nil},
		{"a cluster's name with an ID token", func(s *scene) { byCluster(s, "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmVk") }, "identity", doctor.OK, nil, nil},
		{"a cluster's name with another job's token", func(s *scene) { byCluster(s, "ci:prod:glcbt-64_AnotherAnotherAnothe") },
			"kubeconfig", doctor.Failure, []string{"another token than this job's"}, []string{"Another"}},
		{"another context", func(s *scene) { s.options.Context = "acme/agents:plain" }, "kubeconfig", doctor.Warning,
			[]string{`context "acme/agents:plain" (--context): agent 5`, `kubectl would use context "acme/agents:prod"`}, nil},
		{"the agent's context", ofAgent(5), "kubeconfig", doctor.Warning, []string{`"acme/agents:plain" (--agent): agent 5`}, nil},
		{"the current agent's context", ofAgent(4), "kubeconfig", doctor.OK, []string{`"acme/agents:prod" (--agent): agent 4`}, nil},
		{"a context that is not there", func(s *scene) { s.options.Context = "acme/agents:other" }, "kubeconfig", doctor.Failure,
			[]string{`there is no context "acme/agents:other" (--context)`, `"acme/agents:prod"`}, nil},
		{"a context of another agent", func(s *scene) { s.options.Context, s.options.AgentID = prodContext, 5 }, "kubeconfig", doctor.Failure,
			[]string{"its user is not agent 5, but agent 4"}, nil},
		{"another job's token", user(clientcmdapi.AuthInfo{Token: "ci:4:glcbt-64_AnotherAnotherAnothe"}), "kubeconfig", doctor.Failure,
			[]string{"another token than this job's CI_JOB_TOKEN", "in a cache"}, []string{"Another"}},
		{"no token behind the agent", user(clientcmdapi.AuthInfo{Token: "ci:4:"}), "kubeconfig", doctor.Failure,
			[]string{"the job token is empty"}, nil},
		{"a token that is none of jobgate's", user(clientcmdapi.AuthInfo{Token: "eyJhbGciOiJSUzI1NiIsIm"}), "kubeconfig", doctor.Failure,
			[]string{"is not one for jobgate"}, []string{"eyJhbGci"}},
		{"a client certificate", user(clientcmdapi.AuthInfo{ClientCertificate: "/c", ClientKey: "/k"}), "kubeconfig", doctor.Failure,
			[]string{"presents a client certificate", "use the context of an agent"}, nil},
		{"a plugin", user(clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{Command: "false"}}), "kubeconfig", doctor.Failure,
			[]string{"a token from a plugin"}, nil},
		{"a password", user(clientcmdapi.AuthInfo{Username: "u", Password: "SecretPassword"}), "kubeconfig", doctor.Failure,
			[]string{"presents a password"}, []string{"SecretPassword"}},
		{"a token file", user(clientcmdapi.AuthInfo{TokenFile: "/token"}), "kubeconfig", doctor.Failure, []string{"a token from a file"}, nil},
		{"no user", kubeconfig(func(c *clientcmdapi.Config) { delete(c.AuthInfos, "agent:4") }), "kubeconfig", doctor.Failure,
			[]string{"presents nothing"}, nil},
		{"an empty user", user(clientcmdapi.AuthInfo{}), "kubeconfig", doctor.Failure, []string{"presents nothing"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// A job's own token is looked for in reports; those of a kubeconfig are, too.
func TestRun_ShowsNoOtherSecretOfTheKubeconfig(t *testing.T) {
	const other = "glcbt-64_OtherOtherOtherOt12"
	s := newScene(t)
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

// A hand-made kubeconfig (GitLab 14.1) of a job that has no variables of its own left.
func TestRun_TokenOnlyInTheKubeconfig(t *testing.T) {
	s := newScene(t)
	s.vars["CI_JOB_TOKEN"] = ""
	if f := finding(t, s.run(), "kubeconfig"); f.State != doctor.Failure || !strings.Contains(f.What, cijob.VarJobToken) {
		t.Errorf("kubeconfig is %s: %s", f.State, text(f))
	}
	if len(s.api.seen) != 0 {
		t.Error("a token that nobody vouched for was shown to the API server")
	}
}
