package cijob

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/rule"
)

// Wanted names one agent: by its id, by its context, or by both, where its context is to get that name.
type Wanted struct {
	ID      int64  // 0: found by the context
	Context string // empty: as GitLab names it
}

// ParseWanted reads "4", "path/to/agent/project:agent-name" or "4=path/to/agent/project:agent-name".
func ParseWanted(text string) (Wanted, error) {
	id, name, both := strings.Cut(text, "=")
	if !both && !isNumber(text) && text != "" {
		return Wanted{Context: text}, nil
	}
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || (both && name == "") {
		return Wanted{}, fmt.Errorf("%q is no agent: want ID, CONTEXT or ID=CONTEXT", text)
	}
	return Wanted{ID: n, Context: name}, nil
}

func isNumber(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}

// chosen is an agent that GitLab lists, with the names of its contexts.
type chosen struct {
	agent    gitlab.AllowedAgent
	contexts []string // at least one
	invented bool     // the name is jobgate's, since nobody else has said one
}

// choose finds the wanted agents among those that GitLab lists, in the order in which they are wanted; all of them if
// none is.
func choose(config *clientcmdapi.Config, listed []gitlab.AllowedAgent, wanted []Wanted) ([]chosen, error) {
	if len(listed) == 0 {
		return nil, ErrNoAgent
	}
	if len(wanted) == 0 {
		for _, agent := range listed {
			wanted = append(wanted, Wanted{ID: agent.ID})
		}
	}
	var all []chosen
	for _, w := range wanted {
		if w.ID == 0 {
			if w.ID = agentOf(config, w.Context); w.ID == 0 {
				return nil, fmt.Errorf("%w %s; say its agent's id: --agent ID=%s (GitLab lists the agents %s)",
					ErrNoContext, rule.Quote(w.Context), w.Context, ids(listed))
			}
		}
		i := slices.IndexFunc(listed, func(a gitlab.AllowedAgent) bool { return a.ID == w.ID })
		if i < 0 {
			return nil, fmt.Errorf("%w %d for this job (it lists %s)", ErrNotListed, w.ID, ids(listed))
		}
		// An agent that is listed twice counts once, as in jobgate itself.
		at := slices.IndexFunc(all, func(c chosen) bool { return c.agent.ID == w.ID })
		if at < 0 {
			at = len(all)
			all = append(all, chosen{agent: listed[i], contexts: contextsOf(config, w.ID)})
		}
		all[at].name(w.Context)
	}
	return all, nil
}

// name makes sure that the agent has a context: the one that was asked for besides those that GitLab's kubeconfig has,
// or one that resembles what GitLab would call it. GitLab does not tell a job the name of an agent in any other way.
func (c *chosen) name(wanted string) {
	switch {
	case wanted != "" && !slices.Contains(c.contexts, wanted):
		c.contexts = append(c.contexts, wanted)
	case len(c.contexts) == 0:
		made := fmt.Sprintf("%s:agent-%d", c.agent.ConfigProjectPath, c.agent.ID)
		c.contexts, c.invented = []string{strings.TrimPrefix(made, ":")}, true
	}
}

func ids(listed []gitlab.AllowedAgent) string {
	all := make([]int64, len(listed))
	for i, a := range listed {
		all[i] = a.ID
	}
	return rule.ListIDs(all)
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

// agentOf is the agent whose user a context has; 0 for none.
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
