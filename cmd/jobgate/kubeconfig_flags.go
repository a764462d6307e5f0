package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/credential"
)

// complete chooses between agent and cluster, and takes from the variables what the flags leave out.
func (o *kubeconfigOptions) complete(v cijob.Variables) error {
	if len(o.agents) > 0 && (o.cluster != "" || o.idTokenVariable != "") {
		return badUsage("--agent is for a login with an agent, --cluster and --id-token-variable are for one without: give one of the two")
	}
	byFlag := o.cluster != ""
	if len(o.agents) == 0 && !byFlag {
		o.cluster = v(cijob.VarCluster)
		if o.cluster != "" && v(cijob.VarAgentID) != "" {
			return fmt.Errorf("%s and %s are both set: a job logs in with an agent or without one, so unset one of them",
				cijob.VarCluster, cijob.VarAgentID)
		}
	}
	switch {
	case o.cluster == "" && o.idTokenVariable != "":
		return badUsage("--id-token-variable needs --cluster: an ID token is not for an agent")
	case o.cluster == "":
	case !credential.IsClusterName(o.cluster) && byFlag:
		return badUsage("--cluster is %q: %w", o.cluster, errClusterName)
	case !credential.IsClusterName(o.cluster):
		return fmt.Errorf("%s is %q: %w", cijob.VarCluster, o.cluster, errClusterName)
	}
	o.idTokenVariable = cmp.Or(o.idTokenVariable, v(cijob.VarIDTokenVariable))
	o.context = cmp.Or(o.context, v(cijob.VarContext))
	o.namespace = cmp.Or(o.namespace, v(cijob.VarNamespace))
	return nil
}

var errClusterName = errors.New("a cluster's name has lower-case letters, digits and dashes, and begins with a letter; " +
	"it is cluster.name in jobgate's configuration")

// target is what the flags say, and the job's variables where the flags say nothing.
func (o *kubeconfigOptions) target(v cijob.Variables) (cijob.Target, error) {
	t := cijob.Target{Context: o.context, Namespace: o.namespace}
	var err error
	if t.Server, err = cijob.ServerURL(o.server, v); err != nil {
		if o.server != "" {
			return t, badUsage("--server: %w", err)
		}
		return t, err
	}
	if ca := cmp.Or(o.caFile, v(cijob.VarCAFile)); ca != "" {
		if t.CA, err = cijob.ReadCA(ca); err != nil {
			return t, fmt.Errorf("read the API server's CA (--ca or %s): %w", cijob.VarCAFile, err)
		}
	}
	for _, text := range o.agents {
		agent, err := cijob.ParseAgentSelector(text)
		if err != nil {
			return t, badUsage("--agent: %w", err)
		}
		t.Agents = append(t.Agents, agent)
	}
	if id := v(cijob.VarAgentID); len(t.Agents) == 0 && id != "" {
		agent, err := cijob.ParseAgentSelector(id)
		if err != nil || agent.ID == 0 {
			return t, fmt.Errorf("%s is not a number: set it to the agent's id", cijob.VarAgentID)
		}
		t.Agents = []cijob.AgentSelector{{ID: agent.ID, Context: o.context}}
	}
	return t, nil
}

// credential is what a job presents to a cluster that it names.
func (o *kubeconfigOptions) credential(v cijob.Variables) (string, error) {
	name := cmp.Or(o.idTokenVariable, cijob.VarJobToken)
	token := cijob.NewToken(v(name))
	switch _, err := token.Check(time.Now()); {
	case token.Empty() && o.idTokenVariable == "":
		return "", cijob.ErrNoToken
	case token.Empty():
		return "", fmt.Errorf("%s is not set: name it under id_tokens in the job's .gitlab-ci.yml", name)
	case err != nil:
		return "", fmt.Errorf("%s: %w", name, err)
	case o.idTokenVariable == "":
		return credential.ForCluster(o.cluster, token.Text()), nil
	default:
		return token.Text(), nil
	}
}
