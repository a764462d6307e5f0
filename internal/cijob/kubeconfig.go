package cijob

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/credential"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/policy"
)

// Errors of Point.
var (
	ErrNoAgent   = errors.New("GitLab lists no agent for this job; check ci_access in the agent's config.yaml")
	ErrNotListed = errors.New("GitLab does not list agent")
	ErrNoContext = errors.New("there is no context")
	ErrTaken     = errors.New("is not the agent's context")
)

// Target is where contexts are to point, and which of them.
type Target struct {
	Server    *url.URL
	CA        []byte          // PEM; empty: the system's
	Agents    []AgentSelector // empty: every agent that GitLab lists
	Context   string          // to be the current one; empty: that of the only selected agent, or the one that is
	Namespace string          // of the contexts; empty: as GitLab has it
}

// Pointed is what has changed.
type Pointed struct {
	Contexts []PointedContext // at least one
	Current  string           // the current context; empty: none
}

// PointedContext is a context that points at the target's server now.
type PointedContext struct {
	Name      string
	AgentID   int64 // 0: it logs in without an agent
	Generated bool  // jobgate made the name, because GitLab's kubeconfig has none for the agent
}

// Point makes the contexts of the selected agents point at an API server, with the job's token as their users' credential.
// A context that GitLab's kubeconfig does not have is added. The cluster gets its own entry, named after the server:
// GitLab's one entry, "gitlab", serves the agents of every cluster. Contexts of other users stay, but none of them is left
// as the current one: GitLab selects gitlab-deploy, which is for another cluster.
//
// The error wraps one of this package's, and config must then not be used.
func Point(config *clientcmdapi.Config, listed []gitlab.AllowedAgent, token Token, t Target) (Pointed, error) {
	agents, err := selectAgents(config, listed, t.Agents)
	if err != nil {
		return Pointed{}, err
	}
	cluster := strings.TrimRight(t.Server.Host+t.Server.Path, "/")
	config.Clusters[cluster] = t.cluster()
	var p Pointed
	for _, a := range agents {
		config.AuthInfos[UserOf(a.agent.ID)] = &clientcmdapi.AuthInfo{Token: token.ForAgent(a.agent.ID)}
		for _, name := range a.contexts {
			if err := point(config, name, cluster, a.agent, t.Namespace); err != nil {
				return Pointed{}, err
			}
			p.Contexts = append(p.Contexts, PointedContext{Name: name, AgentID: a.agent.ID, Generated: a.generated})
		}
	}
	if t.Context == "" && len(t.Agents) == 1 {
		t.Context = t.Agents[0].Context
	}
	if config.CurrentContext, err = current(config, p.Contexts, t.Context); err != nil {
		return Pointed{}, err
	}
	p.Current = config.CurrentContext
	return p, nil
}

func (t Target) cluster() *clientcmdapi.Cluster {
	return &clientcmdapi.Cluster{Server: t.Server.String(), CertificateAuthorityData: t.CA}
}

func point(config *clientcmdapi.Config, name, cluster string, agent gitlab.AllowedAgent, namespace string) error {
	user := UserOf(agent.ID)
	c := config.Contexts[name]
	if c == nil {
		c = clientcmdapi.NewContext()
		c.AuthInfo = user
		config.Contexts[name] = c
	}
	if c.AuthInfo != user {
		return fmt.Errorf("context %s %w: its user is %s; give another name: --agent %d=CONTEXT",
			policy.Quote(name), ErrTaken, policy.Quote(c.AuthInfo), agent.ID)
	}
	c.Cluster = cluster
	switch {
	case namespace != "":
		c.Namespace = namespace
	case c.Namespace == "" && isNamespace(agent.DefaultNamespace()):
		c.Namespace = agent.DefaultNamespace()
	}
	return nil
}

// isNamespace refuses a name that kubectl could not use. GitLab stores any text.
func isNamespace(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// current picks the current context: the one that was asked for, the only one that points at the server, or the one that
// is current already, if it is an agent's.
func current(config *clientcmdapi.Config, pointed []PointedContext, name string) (string, error) {
	switch {
	case name == "" && len(pointed) == 1:
		return pointed[0].Name, nil
	case name == "" && agentOf(config, config.CurrentContext) == 0:
		return "", nil
	case name == "":
		return config.CurrentContext, nil
	case config.Contexts[name] == nil:
		return "", fmt.Errorf("%w %s; the kubeconfig has %s", ErrNoContext, policy.Quote(name), policy.List(agentContexts(config)))
	case agentOf(config, name) == 0:
		return "", fmt.Errorf("context %s %w: its user is %s; use one of %s",
			policy.Quote(name), ErrTaken, policy.Quote(config.Contexts[name].AuthInfo), policy.List(agentContexts(config)))
	default:
		return name, nil
	}
}

// agentContexts are the contexts of all agents, in order of their names.
func agentContexts(config *clientcmdapi.Config) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(config.Contexts)), func(name string) bool { return agentOf(config, name) == 0 })
}

// clusterUserPrefix is the start of the name of a user who logs in by the cluster's name, which follows.
const clusterUserPrefix = "jobgate:"

// ClusterOf is the name of the cluster that a context of PointAtCluster is for; empty for any other context.
func ClusterOf(config *clientcmdapi.Config, context string) string {
	c := config.Contexts[context]
	if c == nil {
		return ""
	}
	name, found := strings.CutPrefix(c.AuthInfo, clusterUserPrefix)
	if !found || !credential.IsClusterName(name) {
		return ""
	}
	return name
}

// PointAtCluster adds a context that logs in to a cluster by the cluster's name and makes it the current one. The context
// is named after the cluster, unless the target says otherwise. GitLab is not asked; the cluster's grants decide.
func PointAtCluster(config *clientcmdapi.Config, name, presented string, t Target) Pointed {
	user, context := clusterUserPrefix+name, clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo, context.Namespace = user, user, t.Namespace
	if t.Context == "" {
		t.Context = name
	}
	config.Clusters[user], config.AuthInfos[user] = t.cluster(), &clientcmdapi.AuthInfo{Token: presented}
	config.Contexts[t.Context], config.CurrentContext = context, t.Context
	return Pointed{Contexts: []PointedContext{{Name: t.Context}}, Current: t.Context}
}
