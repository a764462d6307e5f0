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

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/rule"
)

// Errors of Point.
var (
	ErrNoAgent   = errors.New("GitLab lists no agent for this job")
	ErrNotListed = errors.New("GitLab does not list agent")
	ErrNoContext = errors.New("there is no context")
	ErrTaken     = errors.New("is not the agent's context")
)

// Target is where contexts are to point, and which of them.
type Target struct {
	Server    *url.URL
	CA        []byte   // PEM; empty: the system's
	Agents    []Wanted // empty: every agent that GitLab lists
	Context   string   // to be the current one; empty: that of the only agent that is wanted, or the one that is
	Namespace string   // of the contexts; empty: as GitLab has it
}

// Pointed is what Point has done.
type Pointed struct {
	Contexts []PointedContext // at least one
	Current  string           // the current context; empty: none
}

// PointedContext is a context that points at the target's server now.
type PointedContext struct {
	Name     string
	AgentID  int64
	Invented bool // the name is jobgate's own, since GitLab's kubeconfig has none for the agent
}

// Point makes the contexts of the wanted agents point at an API server, with the job's token as their users' credential.
// A context that GitLab's kubeconfig does not have is added. The cluster's entry is one of its own, named after the
// server: GitLab's one entry, "gitlab", serves the agents of every cluster. Nothing else in config changes.
//
// The error wraps one of this package's, and config is then not to be used.
func Point(config *clientcmdapi.Config, listed []gitlab.AllowedAgent, token Token, t Target) (Pointed, error) {
	agents, err := choose(config, listed, t.Agents)
	if err != nil {
		return Pointed{}, err
	}
	cluster := strings.TrimRight(t.Server.Host+t.Server.Path, "/")
	config.Clusters[cluster] = &clientcmdapi.Cluster{Server: t.Server.String(), CertificateAuthorityData: t.CA}
	var p Pointed
	for _, a := range agents {
		config.AuthInfos[UserOf(a.agent.ID)] = &clientcmdapi.AuthInfo{Token: token.Credential(a.agent.ID)}
		for _, name := range a.contexts {
			if err := point(config, name, cluster, a.agent, t.Namespace); err != nil {
				return Pointed{}, err
			}
			p.Contexts = append(p.Contexts, PointedContext{Name: name, AgentID: a.agent.ID, Invented: a.invented})
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

func point(config *clientcmdapi.Config, name, cluster string, agent gitlab.AllowedAgent, namespace string) error {
	user := UserOf(agent.ID)
	c := config.Contexts[name]
	if c == nil {
		c = clientcmdapi.NewContext()
		c.AuthInfo = user
		config.Contexts[name] = c
	}
	if c.AuthInfo != user {
		return fmt.Errorf("context %s %w: its user is %s; name it otherwise: --agent %d=CONTEXT",
			rule.Quote(name), ErrTaken, rule.Quote(c.AuthInfo), agent.ID)
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

// isNamespace keeps out what GitLab stored without looking at it, and kubectl could only stumble over.
func isNamespace(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// current picks the current context. A job that has one context wants it, whatever was current before.
func current(config *clientcmdapi.Config, pointed []PointedContext, wanted string) (string, error) {
	switch {
	case wanted != "" && config.Contexts[wanted] == nil:
		return "", fmt.Errorf("%w %s; there are %s", ErrNoContext, rule.Quote(wanted),
			rule.List(slices.Sorted(maps.Keys(config.Contexts))))
	case wanted != "":
		return wanted, nil
	case len(pointed) == 1:
		return pointed[0].Name, nil
	default:
		return config.CurrentContext, nil
	}
}
