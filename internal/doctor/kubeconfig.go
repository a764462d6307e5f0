package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/credential"
	"github.com/jobgate/jobgate/internal/rule"
)

// subject is what kubectl would talk to, and as whom.
type subject struct {
	context    string                // empty: none was found
	cluster    *clientcmdapi.Cluster // never nil; without a server where none is known
	namespace  string
	credential string // the bearer token to present; empty: none of a job's
	why        string // there is no credential
}

// checkKubeconfig finds the context that kubectl would use, or that was asked for, and the agent behind it.
func (e *examination) checkKubeconfig(context.Context) Finding {
	f := Finding{Name: "kubeconfig"}
	e.subject = subject{cluster: clientcmdapi.NewCluster(), why: "there is no context to use"}
	e.agentID = e.AgentID
	config, err := cijob.Load(e.files()...)
	missing := errors.Is(err, cijob.ErrNoKubeconfig)
	if err != nil && !missing {
		f.State, f.What, f.Do = Failure, err.Error(), "write it anew, with jobgate kubeconfig"
		return f
	}
	e.keepSecret(config)
	switch {
	case missing && e.AgentID != 0:
		return e.withoutContext(f, config)
	case missing:
		f.State = Failure
		f.What = cijob.VarKubeconfig + " is not set, or names no file: GitLab has listed no agent for this job when it began, " +
			"or its agent server (KAS) is off"
		f.Do = "give --agent=ID to learn why the agent is not listed; where KAS is off, write one with jobgate kubeconfig"
		return f
	}
	name, chosenBy := e.choose(config)
	switch {
	case name == "" && e.AgentID != 0:
		return e.withoutContext(f, config)
	case name == "":
		f.State = Failure
		f.What = fmt.Sprintf("no context is chosen, so kubectl would ask localhost:8080; there are %s", e.contexts(config))
		f.Do = "kubectl config use-context CONTEXT; or set " + cijob.VarContext + " for jobgate kubeconfig or .jobgate"
		return f
	}
	return e.examine(f, config, name, chosenBy)
}

// withoutContext makes what a context of the agent would have, on the cluster of the current one.
func (e *examination) withoutContext(f Finding, config *clientcmdapi.Config) Finding {
	e.subject.why = "there is no " + cijob.VarJobToken
	if !e.job.Token.Empty() {
		e.subject.credential = e.job.Token.ForAgent(e.AgentID)
	}
	if current := config.Contexts[config.CurrentContext]; current != nil && config.Clusters[current.Cluster] != nil {
		e.subject.cluster = config.Clusters[current.Cluster]
	}
	f.State = Warning
	f.What = fmt.Sprintf("no context is agent %d's (there are %s); the rest is checked as one would be used",
		e.AgentID, e.contexts(config))
	f.Do = fmt.Sprintf("jobgate kubeconfig --agent=%d writes one, once GitLab lists the agent", e.AgentID)
	return f
}

// files are those that kubectl reads.
func (e *examination) files() []string {
	if list := e.Variables(cijob.VarKubeconfig); list != "" {
		return filepath.SplitList(list)
	}
	return []string{filepath.Join(e.Variables("HOME"), ".kube", "config")}
}

// The ways in which a context is chosen. kubectl itself knows the first two.
const (
	byFlag     = "--context"
	byCurrent  = "current-context"
	byAgent    = "--agent"
	byVariable = cijob.VarContext
	byDefault  = "the only one"
)

// choose picks a context; an empty name is none.
func (e *examination) choose(config *clientcmdapi.Config) (name, by string) {
	if e.Context != "" {
		return e.Context, byFlag
	}
	if e.AgentID != 0 {
		return ofAgent(config, e.AgentID), byAgent
	}
	if config.CurrentContext != "" {
		return config.CurrentContext, byCurrent
	}
	if variable := e.Variables(cijob.VarContext); variable != "" {
		return variable, byVariable
	}
	if len(config.Contexts) == 1 {
		for name := range config.Contexts {
			return name, byDefault
		}
	}
	return "", ""
}

// ofAgent is a context whose user presents a token for the agent: the current one if it does, else the first by name.
func ofAgent(config *clientcmdapi.Config, agentID int64) string {
	names := slices.Sorted(maps.Keys(config.Contexts))
	for _, name := range append([]string{config.CurrentContext}, names...) {
		c := config.Contexts[name]
		if c == nil || config.AuthInfos[c.AuthInfo] == nil {
			continue
		}
		// A token that has expired names its agent all the same.
		if c, _ := credential.Parse(config.AuthInfos[c.AuthInfo].Token); c.AgentID == agentID {
			return name
		}
	}
	return ""
}

// examine reads the chosen context as kubectl would.
func (e *examination) examine(f Finding, config *clientcmdapi.Config, name, chosenBy string) Finding {
	c := config.Contexts[name]
	if c == nil {
		f.State = Failure
		f.What = fmt.Sprintf("there is no context %s (%s); there are %s", e.quote(name), chosenBy, e.contexts(config))
		f.Do = "use one that is there; GitLab adds a context for each agent that it lists for the job"
		return f
	}
	e.subject.context, e.subject.namespace = name, c.Namespace
	if cluster := config.Clusters[c.Cluster]; cluster != nil {
		e.subject.cluster = cluster
	}
	if bad := e.readUser(config.AuthInfos[c.AuthInfo]); bad != nil {
		bad.Name = f.Name
		bad.What = fmt.Sprintf("context %s: %s", e.quote(name), bad.What)
		e.subject.why = bad.What
		return *bad
	}
	f.State = OK
	f.What = fmt.Sprintf("context %s (%s): agent %d, namespace %s", e.quote(name), chosenBy, e.agentID,
		e.quote(cmp.Or(c.Namespace, defaultNamespace)))
	if chosenBy != byCurrent && config.CurrentContext != name {
		f.State = Warning
		f.Do = fmt.Sprintf("kubectl would use %s: kubectl config use-context %s, or --context on every command",
			e.current(config), e.quote(name))
	}
	return f
}

func (e *examination) current(config *clientcmdapi.Config) string {
	if config.CurrentContext == "" {
		return "none"
	}
	return "context " + e.quote(config.CurrentContext)
}

// readUser finds out what the context's user presents; a Finding says what is wrong with it.
func (e *examination) readUser(user *clientcmdapi.AuthInfo) *Finding {
	if user == nil || user.Token == "" {
		return &Finding{
			State: Failure, What: "its user presents " + otherCredential(user) + ", and not the job's token",
			Do: "use the context of an agent: kubectl config use-context CONTEXT",
		}
	}
	presented, err := credential.Parse(user.Token)
	if err != nil {
		return &Finding{
			State: Failure, What: "its user's token is not one for jobgate: " + err.Error(),
			Do: "the token must be ci:<agent id>:$" + cijob.VarJobToken + "; jobgate kubeconfig writes it so",
		}
	}
	if e.agentID == 0 {
		e.agentID = presented.AgentID
	}
	if user.Token != e.job.Token.ForAgent(presented.AgentID) {
		return &Finding{
			State: Failure, What: "its user presents another token than this job's " + cijob.VarJobToken,
			Do: "keep no kubeconfig in caches and artifacts; write it anew in each job",
		}
	}
	if e.agentID != presented.AgentID {
		return &Finding{
			State: Failure, What: fmt.Sprintf("its user is agent %d, and not %d", presented.AgentID, e.agentID),
			Do: "give another --context or --agent",
		}
	}
	e.subject.credential = user.Token
	return nil
}

// otherCredential says how a user would log in that has no token.
func otherCredential(user *clientcmdapi.AuthInfo) string {
	switch {
	case user == nil:
		return "nothing"
	case user.Exec != nil, user.AuthProvider != nil:
		return "what a plugin fetches"
	case user.ClientCertificate != "", len(user.ClientCertificateData) > 0:
		return "a client certificate"
	case user.TokenFile != "":
		return "a token from a file"
	case user.Username != "":
		return "a password"
	default:
		return "nothing"
	}
}

// contexts lists the names of all contexts.
func (e *examination) contexts(config *clientcmdapi.Config) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(config.Contexts)) {
		names = append(names, e.redact(name))
	}
	if len(names) == 0 {
		return "none"
	}
	return rule.List(names)
}
