package cijob_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/gitlab"
)

// injected is GitLab's kubeconfig for the agents 4 and 5, in a job that also has a cluster of the deprecated kind.
const injected = `
apiVersion: v1
kind: Config
clusters:
- {name: gitlab, cluster: {server: "https://kas.example.com/k8s-proxy/"}}
- {name: gitlab-deploy, cluster: {server: "https://legacy.example.com"}}
users:
- {name: "agent:4", user: {token: "ci:4:old"}}
- {name: "agent:5", user: {token: "ci:5:old"}}
- {name: gitlab-deploy, user: {token: legacy}}
contexts:
- {name: "acme/agents:prod", context: {cluster: gitlab, user: "agent:4"}}
- {name: "acme/agents:staging", context: {cluster: gitlab, user: "agent:5", namespace: stage}}
- {name: gitlab-deploy, context: {cluster: gitlab-deploy, user: gitlab-deploy}}
current-context: gitlab-deploy
`

const (
	server     = "https://api.example.com:6443/"
	ownCluster = "api.example.com:6443"
)

func agent(id int64, configuration string) gitlab.AllowedAgent {
	return gitlab.AllowedAgent{ID: id, ConfigProjectID: 7, ConfigProjectPath: "acme/agents", Configuration: []byte(configuration)}
}

// contextOf is a context in short: cluster, user and namespace.
func contextOf(c *clientcmdapi.Config, name string) string {
	if c.Contexts[name] == nil {
		return "none"
	}
	return strings.Join([]string{c.Contexts[name].Cluster, c.Contexts[name].AuthInfo, c.Contexts[name].Namespace}, " ")
}

func TestPoint(t *testing.T) {
	const direct = ownCluster + " "
	listed := []gitlab.AllowedAgent{
		agent(4, `{"default_namespace":"web","access_as":{"ci_job":{}}}`), agent(5, `{"default_namespace":"other"}`), agent(6, `{}`),
	}
	rows := []struct {
		name     string
		target   cijob.Target
		contexts map[string]string
		current  string
		err      error
	}{
		{name: "every agent, and the names of all that GitLab names", target: cijob.Target{}, contexts: map[string]string{
			"acme/agents:prod": direct + "agent:4 web", "acme/agents:staging": direct + "agent:5 stage",
			"acme/agents:agent-6": direct + "agent:6 ", "gitlab-deploy": "gitlab-deploy gitlab-deploy ",
		}},
		{name: "one agent by its id, the others keep the tunnel", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 4}}},
			contexts: map[string]string{
				"acme/agents:prod": direct + "agent:4 web", "acme/agents:staging": "gitlab agent:5 stage", "acme/agents:agent-6": "none",
			}, current: "acme/agents:prod"},
		{name: "one agent by its context", target: cijob.Target{Agents: []cijob.AgentSelector{{Context: "acme/agents:staging"}}},
			contexts: map[string]string{
				"acme/agents:prod": "gitlab agent:4 ", "acme/agents:staging": direct + "agent:5 stage",
			}, current: "acme/agents:staging"},
		{name: "an agent that GitLab does not name", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 6, Context: "acme/agents:new"}}}, contexts: map[string]string{
			"acme/agents:new": direct + "agent:6 ", "acme/agents:agent-6": "none",
		}, current: "acme/agents:new"},
		{name: "another name besides GitLab's", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 4, Context: "mine"}}},
			contexts: map[string]string{
				"mine": direct + "agent:4 web", "acme/agents:prod": direct + "agent:4 web",
			}, current: "mine"},
		{name: "two names for one agent", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 6, Context: "a"}, {ID: 6, Context: "b"}}},
			contexts: map[string]string{
				"a": direct + "agent:6 ", "b": direct + "agent:6 ",
			}},
		{name: "a context to be current", target: cijob.Target{Context: "acme/agents:staging"}, contexts: map[string]string{
			"acme/agents:staging": direct + "agent:5 stage",
		}, current: "acme/agents:staging"},
		{name: "a namespace for all", target: cijob.Target{Namespace: "mine", Agents: []cijob.AgentSelector{{ID: 4}, {ID: 5}}},
			contexts: map[string]string{
				"acme/agents:prod": direct + "agent:4 mine", "acme/agents:staging": direct + "agent:5 mine",
			}},

		{name: "an agent that is not listed", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 9}}}, err: cijob.ErrNotListed},
		{name: "an unknown context", target: cijob.Target{Agents: []cijob.AgentSelector{{Context: "acme/agents:other"}}}, err: cijob.ErrNoContext},
		{name: "a context without an agent", target: cijob.Target{Agents: []cijob.AgentSelector{{Context: "gitlab-deploy"}}}, err: cijob.ErrNoContext},
		{name: "a name that is taken", target: cijob.Target{Agents: []cijob.AgentSelector{{ID: 6, Context: "gitlab-deploy"}}}, err: cijob.ErrTaken},
		{name: "a current context that is no agent's", target: cijob.Target{Context: "gitlab-deploy"}, err: cijob.ErrTaken},
		{name: "an unknown current context", target: cijob.Target{Context: "acme/agents:other"}, err: cijob.ErrNoContext},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			config, err := clientcmd.Load([]byte(injected))
			if err != nil {
				t.Fatal(err)
			}
			if row.target.Server, err = cijob.CheckServer(server); err != nil {
				t.Fatal(err)
			}
			row.target.CA = []byte("PEM")
			pointed, err := cijob.Point(config, listed, cijob.NewToken(secret), row.target)
			if !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
				t.Fatalf("error is %v, want %v", err, row.err)
			}
			if row.err != nil {
				return
			}
			for name, want := range row.contexts {
				if got := contextOf(config, name); got != want {
					t.Errorf("context %s is %q, want %q", name, got, want)
				}
			}
			if config.CurrentContext != row.current || pointed.Current != row.current {
				t.Errorf("current are %q and %q, want %q", config.CurrentContext, pointed.Current, row.current)
			}
			for _, c := range pointed.Contexts {
				user := config.AuthInfos[cijob.UserOf(c.AgentID)]
				if want := cijob.NewToken(secret).ForAgent(c.AgentID); user.Token != want {
					t.Errorf("agent %d presents another token", c.AgentID)
				}
				if want := c.Name == "acme/agents:agent-6"; c.Generated != want {
					t.Errorf("the name %s is jobgate's own: %t", c.Name, c.Generated)
				}
			}
			if diff := cmp.Diff(&clientcmdapi.Cluster{Server: server, CertificateAuthorityData: []byte("PEM")},
				config.Clusters[ownCluster]); diff != "" {
				t.Errorf("cluster (-want +got):\n%s", diff)
			}
			if config.Clusters["gitlab"].Server != "https://kas.example.com/k8s-proxy/" || config.AuthInfos["gitlab-deploy"].Token != "legacy" {
				t.Error("what is GitLab's has changed")
			}
		})
	}
}

func TestPoint_WithoutGitLabsKubeconfig(t *testing.T) {
	rows := []struct {
		name    string
		listed  []gitlab.AllowedAgent
		current string
		want    string
		err     error
	}{
		{name: "one agent", listed: []gitlab.AllowedAgent{agent(4, `{"default_namespace":"web"}`)}, current: "acme/agents:agent-4",
			want: "web"},
		{name: "a namespace that is none", listed: []gitlab.AllowedAgent{agent(4, `{"default_namespace":"../web"}`)}, current: "acme/agents:agent-4"},
		{name: "an agent without a path", listed: []gitlab.AllowedAgent{{ID: 4, ConfigProjectID: 7}}, current: "agent-4"},
		{name: "an agent that is listed twice: the first counts", listed: []gitlab.AllowedAgent{
			agent(4, `{"default_namespace":"web"}`), agent(4, `{"default_namespace":"other"}`),
		}, want: "web"},
		{name: "no agent", err: cijob.ErrNoAgent},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u, err := cijob.CheckServer(server)
			if err != nil {
				t.Fatal(err)
			}
			config := clientcmdapi.NewConfig()
			_, err = cijob.Point(config, row.listed, cijob.NewToken(secret), cijob.Target{Server: u})
			if !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
				t.Fatalf("error is %v, want %v", err, row.err)
			}
			if row.err != nil {
				return
			}
			for name, c := range config.Contexts {
				if c.Namespace != row.want {
					t.Errorf("context %s has namespace %q, want %q", name, c.Namespace, row.want)
				}
			}
			if row.current != "" && (config.CurrentContext != row.current || len(config.Contexts) != 1) {
				t.Errorf("current context is %q of %d, want %q", config.CurrentContext, len(config.Contexts), row.current)
			}
		})
	}
}

// A second run for another cluster leaves the first cluster's contexts as they are.
func TestPoint_SeveralClusters(t *testing.T) {
	config, err := clientcmd.Load([]byte(injected))
	if err != nil {
		t.Fatal(err)
	}
	listed := []gitlab.AllowedAgent{agent(4, `{}`), agent(5, `{}`)}
	for id, url := range map[int64]string{4: "https://one.example.com", 5: "https://two.example.com:6443"} {
		u, err := cijob.CheckServer(url)
		if err != nil {
			t.Fatal(err)
		}
		target := cijob.Target{Server: u, Agents: []cijob.AgentSelector{{ID: id}}}
		if _, err := cijob.Point(config, listed, cijob.NewToken(secret), target); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for name, c := range config.Contexts {
		got[name] = config.Clusters[c.Cluster].Server
	}
	want := map[string]string{
		"acme/agents:prod": "https://one.example.com", "acme/agents:staging": "https://two.example.com:6443",
		"gitlab-deploy": "https://legacy.example.com",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("servers of the contexts (-want +got):\n%s", diff)
	}
}

func TestParseAgentSelector(t *testing.T) {
	rows := []struct {
		name, text string
		want       *cijob.AgentSelector // nil: an error
	}{
		{"id", "4", &cijob.AgentSelector{ID: 4}},
		{"context", "acme/agents:prod", &cijob.AgentSelector{Context: "acme/agents:prod"}},
		{"both", "4=acme/agents:prod", &cijob.AgentSelector{ID: 4, Context: "acme/agents:prod"}},
		{"context that begins with a number", "4x:prod", &cijob.AgentSelector{Context: "4x:prod"}},
		{"empty", "", nil},
		{"zero", "0", nil},
		{"too large", "9223372036854775808", nil},
		{"no name", "4=", nil},
		{"no id", "=prod", nil},
		{"name before the id", "prod=4", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := cijob.ParseAgentSelector(row.text)
			if (err == nil) != (row.want != nil) {
				t.Fatalf("error is %v", err)
			}
			if row.want != nil && got != *row.want {
				t.Errorf("selector is %+v, want %+v", got, *row.want)
			}
		})
	}
}
