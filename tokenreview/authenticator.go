// Package tokenreview implements k8s.io/apiserver's authenticator.Token for the credentials of GitLab CI jobs.
//
// It knows what a credential looks like, which agents stand for this cluster, and which user, groups and extras a job
// becomes. It must not know HTTP, nor what the identity may then do: it identifies, and never grants.
//
// A credential is "ci:<agent id>:<CI_JOB_TOKEN>", and is judged in this order:
//
//  1. What does not begin with "ci:" is somebody else's token: no identity, no error, no trace of it anywhere.
//  2. The grammar, the agents of this cluster and a JWT's own expiry are checked here; GitLab is not asked.
//  3. GitLab says whose token it is (package internal/job remembers), and which agents list the job.
//  4. The agent's configuration picks the identity; what the cluster's admin did not allow is refused.
//
// It fails closed on every doubt about identity, with a *RejectedError. When GitLab could not be asked it says nothing
// about the token: the error is then of another type, and nothing is learnt from it.
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

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/samplelog"
)

// Jobs is where jobs are found.
type Jobs interface {
	// Lookup returns the live job behind a job token that ends by its own word at expires (zero: it does not say). A
	// *gitlab.RejectedError is a definite no; any other error decides nothing.
	Lookup(ctx context.Context, jobToken string, expires time.Time) (job.Answer, error)
}

// Agent is what the cluster's admin says of one agent that stands for this cluster.
type Agent struct {
	ID int64
	// ServiceAccountNamespace and ServiceAccountName are the identity of access_as agent; empty for gitlab:agent:<id>.
	ServiceAccountNamespace string
	ServiceAccountName      string
	// Impersonate is what access_as impersonate may become. Its zero value allows nothing.
	Impersonate Allowed
	// FactExtras are the facts that this cluster's rules judge the agent's jobs by.
	FactExtras FactExtras
}

// Config is what an Authenticator goes by.
type Config struct {
	Agents []Agent
	// ExplainRejections gives a live job that GitLab does not list for the agent a denied identity, whose every request is
	// refused with the reason, instead of a rejection, of which kubectl shows only "Unauthorized".
	ExplainRejections bool
	// FiltersProtectedBranches says that GitLab itself withholds an agent with protected_branches_only.
	FiltersProtectedBranches bool
}

// Authenticator turns a credential into a user. It is safe for concurrent use.
type Authenticator struct {
	jobs   Jobs
	agents atomic.Pointer[map[int64]*policy]
	log    *samplelog.Log
}

var _ authenticator.Token = (*Authenticator)(nil)

// policy is an Agent with its lists compiled, and what is common to all of them.
type policy struct {
	Agent
	allowed                  allowlists
	explainRejections        bool
	filtersProtectedBranches bool
}

// New returns an authenticator for the agents in the configuration.
func New(jobs Jobs, c Config) *Authenticator {
	a := &Authenticator{jobs: jobs, log: samplelog.New()}
	a.Configure(c)
	return a
}

// Configure replaces the configuration. Requests already being judged end under the old one.
func (a *Authenticator) Configure(c Config) {
	policies := make(map[int64]*policy, len(c.Agents))
	for _, agent := range c.Agents {
		policies[agent.ID] = &policy{
			Agent:                    agent,
			allowed:                  compile(agent.Impersonate),
			explainRejections:        c.ExplainRejections,
			filtersProtectedBranches: c.FiltersProtectedBranches,
		}
	}
	a.agents.Store(&policies)
}

// AuthenticateToken judges a token. It returns the user and true, or false without an error for somebody else's token,
// or an error: a *RejectedError where the token is refused, anything else where that could not be decided.
// The response's audiences are empty: a job token has none, and the API server then applies its own.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	if !isCredential(token) {
		return nil, false, nil
	}
	logger := klog.FromContext(ctx)
	l, err := a.authenticate(ctx, token)
	var rejected *RejectedError
	switch {
	case errors.As(err, &rejected):
		a.logRejection(logger, rejected)
		return nil, false, err
	case err != nil:
		a.logUndecided(logger, err)
		return nil, false, err
	}
	if l.answer.FirstUse() {
		a.logLogin(logger, l.answer.Job, l.agentID, l.user)
	}
	return &authenticator.Response{User: l.user}, true, nil
}

// Identify gives a live job the identity that it would get with a token for the agent. The error is a *RejectedError.
func (a *Authenticator) Identify(j *job.Job, agentID int64) (user.Info, error) {
	agent, err := a.agent(agentID)
	if err != nil {
		return nil, err
	}
	return identify(j, agent)
}

func (a *Authenticator) agent(id int64) (*policy, error) {
	agent, ok := (*a.agents.Load())[id]
	if !ok {
		return nil, reject(ReasonUnknownAgent, id, nil,
			"agent %d does not stand for this cluster; use a context of one that does, or add it to jobgate's agents", id)
	}
	return agent, nil
}

// login is a token that was accepted.
type login struct {
	agentID int64
	answer  job.Answer
	user    user.Info
}

func (a *Authenticator) authenticate(ctx context.Context, token string) (login, error) {
	c, err := parse(token)
	if err != nil {
		return login{}, err
	}
	agent, err := a.agent(c.agentID)
	if err != nil {
		return login{}, err
	}
	expires := expiry(c.jobToken)
	if !expires.IsZero() && !time.Now().Before(expires) {
		return login{}, reject(ReasonExpired, c.agentID, nil,
			"the job token presented for agent %d has expired: the job is over, start it again", c.agentID)
	}
	answer, err := a.jobs.Lookup(ctx, c.jobToken, expires)
	if err != nil {
		return login{}, explain(err, c.agentID)
	}
	info, err := identify(answer.Job, agent)
	return login{agentID: c.agentID, answer: answer, user: info}, err
}

// explain turns GitLab's definite refusals into rejections, and leaves everything else undecided.
func explain(err error, agentID int64) error {
	var refused *gitlab.RejectedError
	if !errors.As(err, &refused) {
		return fmt.Errorf("look up the job that presents agent %d: %w", agentID, err)
	}
	switch refused.Status {
	case 403:
		return reject(ReasonForbiddenUser, agentID, nil,
			"GitLab does not let the user of the job that presents agent %d use its API (403, %q); mend the account in GitLab",
			agentID, refused.Message)
	case 404:
		return reject(ReasonNotAJobToken, agentID, nil,
			"what was presented for agent %d is a GitLab token, but no job's (404); use $CI_JOB_TOKEN of a running job", agentID)
	default:
		return reject(ReasonNotRunning, agentID, nil,
			"the token presented for agent %d belongs to no running job (GitLab answered %d): the job has ended, "+
				"or this is not its $CI_JOB_TOKEN", agentID, refused.Status)
	}
}
