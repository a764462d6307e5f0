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
	"github.com/jobgate/jobgate/internal/policy"
)

// subject is the cluster and the user that kubectl would use.
type subject struct {
	context     string                // empty: none was found
	cluster     *clientcmdapi.Cluster // never nil; without a server if none is known
	clusterName string                // if the context logs in by the cluster's name, without an agent
	namespace   string
	credential  string // the bearer token to present; empty: none that is this job's
	isIDToken   bool   // the credential
	why         string // there is no credential
}

// checkKubeconfig finds the context that kubectl would use, or that was asked for, and its agent.
func (e *examination) checkKubeconfig(context.Context) Finding {
	f := Finding{Name: "kubeconfig"}
	e.subject = subject{cluster: clientcmdapi.NewCluster(), why: "there is no context to use"}
	e.agentID = e.AgentID
	config, err := cijob.Load(e.files()...)
	missing := errors.Is(err, cijob.ErrNoKubeconfig)
	if err != nil && !missing {
		return f.Failed(err.Error(), "write it again, with jobgate kubeconfig")
	}
	e.keepSecret(config)
	switch {
	case missing && e.AgentID != 0:
		return e.withoutContext(f, config)
	case missing:
		return f.Failed(e.whyMissing(), "give --agent=ID to learn why GitLab does not list the agent; "+
			"if KAS is off, write a kubeconfig with jobgate kubeconfig")
	}
	name, chosenBy := e.choose(config)
	switch {
	case name == "" && e.AgentID != 0:
		return e.withoutContext(f, config)
	case name == "":
		return f.Failed(fmt.Sprintf("no context is current, so kubectl would ask localhost:8080; the kubeconfig has %s", e.contexts(config)),
			"kubectl config use-context CONTEXT; or set "+cijob.VarContext+" for jobgate kubeconfig or .jobgate")
	}
	return e.checkVariable(e.examine(f, config, name, chosenBy), config, chosenBy)
}

// whyMissing tells a variable that is not set from one that names no file.
func (e *examination) whyMissing() string {
	const agents = "GitLab sets it if it lists an agent for the job when the job starts, and if its agent server (KAS) is on"
	if file := e.Variables(cijob.VarKubeconfig); file != "" {
		return fmt.Sprintf("%s is %s, and there is no such file", cijob.VarKubeconfig, e.quote(file))
	}
	return cijob.VarKubeconfig + " is not set, and ~/.kube/config does not exist: " + agents
}

// checkVariable notices a JOBGATE_CONTEXT that is not the context that was checked.
func (e *examination) checkVariable(f Finding, config *clientcmdapi.Config, chosenBy string) Finding {
	variable := e.Variables(cijob.VarContext)
	if f.State == Failure || variable == "" || variable == e.subject.context {
		return f
	}
	switch {
	case config.Contexts[variable] == nil:
		return f.Warned(f.What+fmt.Sprintf("; but %s is %s, and there is no such context", cijob.VarContext, e.quote(variable)),
			fmt.Sprintf("correct %s, which jobgate kubeconfig and .jobgate use; the kubeconfig has %s", cijob.VarContext, e.contexts(config)))
	case chosenBy == byCurrent:
		return f.Warned(f.What+fmt.Sprintf("; but %s is %s", cijob.VarContext, e.quote(variable)),
			"kubectl uses the current context: run jobgate kubeconfig, or kubectl config use-context \"$"+cijob.VarContext+"\"")
	default:
		return f
	}
}

// withoutContext makes the user that a context of the agent would have, on the cluster of the current one.
func (e *examination) withoutContext(f Finding, config *clientcmdapi.Config) Finding {
	e.subject.why = "there is no " + cijob.VarJobToken
	if !e.job.Token.Empty() {
		e.subject.credential = e.job.Token.ForAgent(e.AgentID)
	}
	if current := config.Contexts[config.CurrentContext]; current != nil && config.Clusters[current.Cluster] != nil {
		e.subject.cluster = config.Clusters[current.Cluster]
	}
	return f.Warned(
		fmt.Sprintf("there is no context of agent %d (the kubeconfig has %s); the other checks do as if there were one", e.AgentID, e.contexts(config)),
		fmt.Sprintf("jobgate kubeconfig --agent=%d writes one, once GitLab lists the agent", e.AgentID))
}

// files are those that kubectl reads.
func (e *examination) files() []string {
	if list := e.Variables(cijob.VarKubeconfig); list != "" {
		return filepath.SplitList(list)
	}
	return []string{filepath.Join(e.Variables("HOME"), ".kube", "config")}
}

// The ways to choose a context. kubectl itself knows the first two.
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
		// A token that has expired names its agent, too.
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
		return f.Failed(fmt.Sprintf("there is no context %s (%s); the kubeconfig has %s", e.quote(name), chosenBy, e.contexts(config)),
			"use one of these; GitLab adds a context for each agent that it lists for the job")
	}
	e.subject.context, e.subject.namespace = name, c.Namespace
	if cluster := config.Clusters[c.Cluster]; cluster != nil {
		e.subject.cluster = cluster
	}
	if bad := e.readUser(config.AuthInfos[c.AuthInfo], cijob.ClusterOf(config, name)); bad != nil {
		bad.Name = f.Name
		bad.What = fmt.Sprintf("context %s: %s", e.quote(name), bad.What)
		if name == certificateContext {
			bad.What += "; GitLab makes this the current context if it is connected to a cluster with certificates"
		}
		e.subject.why = bad.What
		return *bad
	}
	what := fmt.Sprintf("context %s (%s): %s, namespace %s", e.quote(name), chosenBy, e.loginBy(), e.quote(cmp.Or(c.Namespace, defaultNamespace)))
	if chosenBy != byCurrent && config.CurrentContext != name {
		return f.Warned(what, fmt.Sprintf("kubectl would use %s: kubectl config use-context %s, or --context on every command",
			e.current(config), e.quote(name)))
	}
	return f.Well(what)
}

// certificateContext is the context that GitLab adds for a cluster that it is connected to with certificates.
const certificateContext = "gitlab-deploy"

func (e *examination) loginBy() string {
	if e.subject.clusterName != "" {
		return "cluster " + e.subject.clusterName + ", without an agent"
	}
	return fmt.Sprintf("agent %d", e.agentID)
}

func (e *examination) current(config *clientcmdapi.Config) string {
	if config.CurrentContext == "" {
		return "none"
	}
	return "context " + e.quote(config.CurrentContext)
}

// readUser finds out what the context's user presents; cluster is the name that it logs in by, if any. A Finding says what
// is wrong with it.
func (e *examination) readUser(user *clientcmdapi.AuthInfo, cluster string) *Finding {
	if user == nil || user.Token == "" {
		return &Finding{
			State: Failure, What: "its user presents " + otherCredential(user) + ", and not the job's token",
			Do: "use the context of an agent: kubectl config use-context CONTEXT",
		}
	}
	// An ID token: only the cluster can judge it.
	if cluster != "" && !credential.Is(user.Token) {
		e.subject.clusterName, e.subject.credential, e.subject.isIDToken = cluster, user.Token, true
		return nil
	}
	presented, err := credential.Parse(user.Token)
	if err != nil {
		return &Finding{
			State: Failure, What: "its user's token is not one for jobgate: " + err.Error(),
			Do: "use the context of an agent, or write one with jobgate kubeconfig: the token must be ci:<agent id>:$" + cijob.VarJobToken,
		}
	}
	own := credential.ForCluster(presented.Cluster, e.job.Token.Text())
	if presented.Cluster == "" {
		own = e.job.Token.ForAgent(presented.AgentID)
	}
	if user.Token != own {
		return &Finding{
			State: Failure, What: "its user presents another token than this job's " + cijob.VarJobToken,
			Do: "do not keep a kubeconfig in a cache or an artifact; write it again in each job",
		}
	}
	if e.agentID == 0 {
		e.agentID = presented.AgentID
	}
	if e.agentID != presented.AgentID {
		return &Finding{
			State: Failure, What: fmt.Sprintf("its user is not agent %d, but %s", e.agentID, loginOf(presented)),
			Do: "give another --context or --agent",
		}
	}
	e.subject.clusterName, e.subject.credential = presented.Cluster, user.Token
	return nil
}

func loginOf(c credential.Credential) string {
	if c.Cluster != "" {
		return "cluster " + c.Cluster
	}
	return fmt.Sprintf("agent %d", c.AgentID)
}

// otherCredential says how a user without a token would log in.
func otherCredential(user *clientcmdapi.AuthInfo) string {
	switch {
	case user == nil:
		return "nothing"
	case user.Exec != nil, user.AuthProvider != nil:
		return "a token from a plugin"
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
	return policy.List(names)
}
