// Package tokenreview implements k8s.io/apiserver's authenticator.Token for the credentials of GitLab CI jobs.
//
// It knows which agents and which name this cluster has, and which user, groups and extras a job becomes. It must not know
// HTTP, nor what the identity may then do: it identifies, and never grants.
//
// A credential is "ci:<agent id>:<CI_JOB_TOKEN>", "ci:<cluster name>:<CI_JOB_TOKEN>" or a GitLab ID token for this
// cluster. It is judged in this order:
//
//  1. Any other token belongs to another authenticator: no identity, no error, no trace of it anywhere.
//  2. The grammar, the agent or cluster, and the token's own end are checked here; GitLab is not asked.
//  3. The source says whose token it is; package internal/job remembers.
//  4. A job that the cluster's admin blocks is refused.
//  5. Permission. With an agent: GitLab lists it for the job, and its configuration picks the identity. Without: a grant
//     admits the job as itself. A live job that fails a restriction of either gets a denied identity, which carries the
//     reason to where kubectl shows it.
//
// It fails closed on every doubt about identity, with a *RejectedError. When GitLab could not be asked it says nothing
// about the token: the error is then of another type, and nothing is learned from it.
package tokenreview

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/credential"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// Jobs is where jobs are found.
type Jobs interface {
	// Lookup returns the live job behind a credential. A *job.RejectedError is a definite no; any other error decides
	// nothing.
	Lookup(ctx context.Context, c job.Credential) (job.Answer, error)
}

// IDTokens tells ID tokens for this cluster from other tokens, without verifying them.
type IDTokens interface {
	// Ours says whether the token claims to be for this cluster, and when it ends.
	Ours(token string) (expires time.Time, ours bool)
}

// Agent is what the cluster's admin says of one agent of this cluster.
type Agent struct {
	ID int64
	// ServiceAccountNamespace and ServiceAccountName are the identity of access_as agent; empty for gitlab:agent:<id>.
	ServiceAccountNamespace string
	ServiceAccountName      string
	// Impersonate is what access_as impersonate may become. Its zero value allows nothing.
	Impersonate policy.Impersonate
}

// Config is what an Authenticator goes by.
type Config struct {
	Policy *policy.Policy
	Agents []Agent
	// IDTokens is nil where the cluster takes none.
	IDTokens IDTokens
	// ExplainRejections gives a live job that nothing lists a denied identity, whose every request is refused with the
	// reason, instead of a rejection, of which kubectl shows only "Unauthorized".
	ExplainRejections bool
}

// Authenticator turns a credential into a user. It is safe for concurrent use.
type Authenticator struct {
	jobs   Jobs
	config atomic.Pointer[config]
	log    *decision.Log
}

var _ authenticator.Token = (*Authenticator)(nil)

// config is a Config with its lists compiled.
type config struct {
	Config
	agents map[int64]*agent
}

type agent struct {
	Agent
	impersonation policy.Impersonation
}

// New returns an authenticator.
func New(jobs Jobs, c Config, log *decision.Log) *Authenticator {
	a := &Authenticator{jobs: jobs, log: log}
	a.Configure(c)
	return a
}

// Configure replaces the configuration. Requests already being judged end under the old one.
func (a *Authenticator) Configure(c Config) {
	compiled := &config{Config: c, agents: make(map[int64]*agent, len(c.Agents))}
	for _, one := range c.Agents {
		compiled.agents[one.ID] = &agent{Agent: one, impersonation: policy.CompileImpersonate(one.Impersonate)}
	}
	a.config.Store(compiled)
}

// AuthenticateToken judges a token. It returns the user and true, or false without an error for another authenticator's
// token, or an error: a *RejectedError where the token is refused, anything else where that could not be decided.
// The response's audiences are empty: the API server then applies its own.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	c := a.config.Load()
	logger := klog.FromContext(ctx)
	v, presented, err := c.read(token)
	if err == nil && v.isForeign() {
		return nil, false, nil
	}
	var info *user.DefaultInfo
	var answer job.Answer
	if err == nil {
		info, answer, err = a.login(ctx, c, v, presented)
	}
	var rejected *RejectedError
	switch {
	case errors.As(err, &rejected):
		a.log.Write(logger, rejectionRecord(rejected, v))
		return nil, false, err
	case err != nil:
		a.log.Write(logger, decision.Record{Decision: decision.Undecided, Agent: v.agentID, Cluster: v.cluster, Message: err.Error()})
		return nil, false, err
	}
	answer.RecordOnce(func() bool { return a.log.Write(logger, loginRecord(answer.Job, v, info)) })
	return &authenticator.Response{User: info}, true, nil
}

// via is what a job logs in through: an agent, or the cluster's own grants.
type via struct {
	agentID int64
	cluster string
	name    string // for messages
}

func (v via) isForeign() bool { return v == via{} }

// read tells what a token is. A foreign one has the zero via.
func (c *config) read(token string) (via, job.Credential, error) {
	if !credential.Is(token) {
		if c.IDTokens == nil {
			return via{}, job.Credential{}, nil
		}
		expires, ours := c.IDTokens.Ours(token)
		if !ours {
			return via{}, job.Credential{}, nil
		}
		return c.viaCluster(), job.Credential{Kind: job.IDToken, Token: token, Expires: expires}, nil
	}
	parsed, err := credential.Parse(token)
	if err != nil {
		return via{}, job.Credential{}, &RejectedError{Reason: ReasonMalformed, message: err.Error()}
	}
	v, err := c.via(parsed)
	if err != nil {
		return v, job.Credential{}, err
	}
	if !parsed.Expires.IsZero() && !time.Now().Before(parsed.Expires) {
		return v, job.Credential{}, expired(v, nil)
	}
	return v, job.Credential{Kind: job.JobToken, Token: parsed.JobToken, Expires: parsed.Expires}, nil
}

func (c *config) viaCluster() via {
	return via{cluster: c.Policy.Cluster, name: "cluster " + c.Policy.Cluster}
}

func (c *config) viaAgent(id int64) via { return via{agentID: id, name: c.Policy.Label(id)} }

// via finds the agent, or checks the cluster's name.
func (c *config) via(parsed credential.Credential) (via, error) {
	if parsed.Cluster != "" {
		if parsed.Cluster != c.Policy.Cluster {
			v := via{cluster: parsed.Cluster, name: "cluster " + parsed.Cluster}
			return v, reject(ReasonUnknownCluster, v, nil, "the token is for the cluster %s, and this is %s; use this cluster's context",
				parsed.Cluster, c.clusterName())
		}
		return c.viaCluster(), nil
	}
	v := c.viaAgent(parsed.AgentID)
	if _, ok := c.agents[parsed.AgentID]; !ok {
		return v, reject(ReasonUnknownAgent, v, nil, "agent %d is not an agent of this cluster; use the context of an agent of this "+
			"cluster, or ask the cluster's admin to add the agent to jobgate's configuration", parsed.AgentID)
	}
	return v, nil
}

func (c *config) clusterName() string {
	if c.Policy.Cluster == "" {
		return "a cluster that jobs log in to through agents"
	}
	return "the cluster " + c.Policy.Cluster
}

func (a *Authenticator) login(ctx context.Context, c *config, v via, presented job.Credential) (*user.DefaultInfo, job.Answer, error) {
	answer, err := a.jobs.Lookup(ctx, presented)
	if err != nil {
		return nil, answer, explain(err, v)
	}
	info, err := c.identify(answer.Job, v)
	return info, answer, err
}

// Identify gives a live job the identity that it would get with a token for the agent, or, where agentID is 0, by a
// grant. The error is a *RejectedError.
func (a *Authenticator) Identify(j *job.Job, agentID int64) (user.Info, error) {
	c := a.config.Load()
	v := c.viaCluster()
	if agentID != 0 {
		var err error
		if v, err = c.via(credential.Credential{AgentID: agentID}); err != nil {
			return nil, err
		}
	}
	info, err := c.identify(j, v)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func loginRecord(j *job.Job, v via, info *user.DefaultInfo) decision.Record {
	r := decision.Record{Decision: decision.Login, Agent: v.agentID, Cluster: v.cluster, As: info.Name}
	r.About(j)
	if grant := info.Extra[extras.Grant]; len(grant) > 0 {
		r.Grant = grant[0]
	}
	if reason := info.Extra[extras.Denied]; len(reason) > 0 {
		r.Decision, r.Message = decision.DeniedLogin, reason[0]
	}
	return r
}

func rejectionRecord(e *RejectedError, v via) decision.Record {
	r := decision.Record{
		Decision: decision.Rejected, Reason: string(e.Reason), Message: e.message, Agent: v.agentID, Cluster: v.cluster,
	}
	if e.Job != nil {
		r.About(e.Job)
	}
	return r
}

// describe names the job for a message.
func describe(j *job.Job) string { return fmt.Sprintf("job %d of project %d", j.ID, j.ProjectID) }
