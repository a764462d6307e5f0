package cijob

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/policy"
)

// AgentSelector names one agent: by its id, by its context, or by both to give its context that name.
type AgentSelector struct {
	ID      int64  // 0: found by the context
	Context string // empty: as GitLab names it
}

// ParseAgentSelector reads "4", "path/to/agent/project:agent-name" or "4=path/to/agent/project:agent-name".
func ParseAgentSelector(text string) (AgentSelector, error) {
	id, name, both := strings.Cut(text, "=")
	if !both && !isNumber(text) && text != "" {
		return AgentSelector{Context: text}, nil
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || (both && name == "") {
		return AgentSelector{}, fmt.Errorf("%q is not an agent: give ID, CONTEXT or ID=CONTEXT", text)
	}
	return AgentSelector{ID: n, Context: name}, nil
}

func isNumber(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}

// selected is an agent that GitLab lists, with the names of its contexts.
type selected struct {
	agent     gitlab.AllowedAgent
	contexts  []string // at least one
	generated bool     // jobgate made the name, because there was none
}

// selectAgents finds the agents among those that GitLab lists, in the order of the selectors; all of them if there is no
// selector.
func selectAgents(config *clientcmdapi.Config, listed []gitlab.AllowedAgent, selectors []AgentSelector) ([]selected, error) {
	if len(listed) == 0 {
		return nil, ErrNoAgent
	}
	if len(selectors) == 0 {
		for _, agent := range listed {
			selectors = append(selectors, AgentSelector{ID: agent.ID})
		}
	}
	var all []selected
	for _, s := range selectors {
		if s.ID == 0 {
			if s.ID = agentOf(config, s.Context); s.ID == 0 {
				return nil, fmt.Errorf("%w %s of an agent; correct the name, or give the agent's id, too: --agent ID=%s (GitLab lists the agents %s)",
					ErrNoContext, policy.Quote(s.Context), s.Context, ids(listed))
			}
		}
		i := slices.IndexFunc(listed, func(a gitlab.AllowedAgent) bool { return a.ID == s.ID })
		if i < 0 {
			return nil, fmt.Errorf("%w %d for this job (it lists %s); check ci_access in that agent's config.yaml", ErrNotListed, s.ID, ids(listed))
		}
		// An agent that is listed twice counts once, as in jobgate itself.
		at := slices.IndexFunc(all, func(c selected) bool { return c.agent.ID == s.ID })
		if at < 0 {
			at = len(all)
			all = append(all, selected{agent: listed[i], contexts: contextsOf(config, s.ID)})
		}
		all[at].name(s.Context)
	}
	return all, nil
}

// name makes sure that the agent has a context: besides those in GitLab's kubeconfig the one that was asked for, or else
// one that resembles GitLab's name for it. A job learns an agent's name in no other way.
func (s *selected) name(context string) {
	switch {
	case context != "" && !slices.Contains(s.contexts, context):
		s.contexts = append(s.contexts, context)
	case len(s.contexts) == 0:
		made := fmt.Sprintf("%s:agent-%d", s.agent.ConfigProjectPath, s.agent.ID)
		s.contexts, s.generated = []string{strings.TrimPrefix(made, ":")}, true
	}
}

func ids(listed []gitlab.AllowedAgent) string {
	all := make([]int64, len(listed))
	for i, a := range listed {
		all[i] = a.ID
	}
	return policy.ListIDs(all)
}

// UserOf is the name that GitLab gives to an agent's user in a kubeconfig.
func UserOf(agentID int64) string { return fmt.Sprintf("%s%d", userPrefix, agentID) }

const userPrefix = "agent:"

// contextsOf are the contexts of an agent's user, in order of their names.
func contextsOf(config *clientcmdapi.Config, agentID int64) []string {
	var names []string
	for name, c := range config.Contexts {
		if c.AuthInfo == UserOf(agentID) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// agentOf is the agent whose user a context has. It is 0 for any other context, such as gitlab-deploy, which GitLab adds
// for a cluster that is connected with certificates.
func agentOf(config *clientcmdapi.Config, context string) int64 {
	c := config.Contexts[context]
	if c == nil {
		return 0
	}
	id, found := strings.CutPrefix(c.AuthInfo, userPrefix)
	if !found {
		return 0
	}
	return readID(id)
}
