package daemon

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// Question is what Explain is asked.
type Question struct {
	// AgentID is the agent that the job uses; 0 for a job that a grant is to admit.
	AgentID int64
	// Reply is a reply of GitLab's allowed_agents. Where it is nil, GitLab is asked about Credential.
	Reply      []byte
	Credential job.Credential
	// Request is a request without its user; nil where only the identity is asked for.
	Request *authorizer.AttributesRecord
	// UserAgent names this program to GitLab.
	UserAgent string
}

// Explanation is who a job is to the cluster, and what each rule makes of a request.
type Explanation struct {
	// Denied is the result: false is no opinion.
	Denied bool `json:"denied"`
	// Rejected says why there is no identity at all.
	Rejected string          `json:"rejected,omitempty"`
	Identity *Identity       `json:"identity,omitempty"`
	Verdicts []authz.Verdict `json:"verdicts,omitempty"`
}

// Identity is a job's, as in a TokenReview.
type Identity struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// Explain decides as the running server would with this configuration. A job from a reply is judged by what the reply
// says: no fact is asked for. The error says what could not be read or asked.
func Explain(ctx context.Context, cfg *config.Configuration, q Question) (*Explanation, error) {
	c, err := newCore(cfg, q.UserAgent, nil, nil)
	if err != nil {
		return nil, err
	}
	defer c.client.Close()
	j, err := c.find(ctx, q)
	var rejected *job.RejectedError
	switch {
	case errors.As(err, &rejected):
		return &Explanation{Denied: true, Rejected: err.Error()}, nil
	case err != nil:
		return nil, err
	}
	user, err := c.authenticator.Identify(j, q.AgentID)
	var refusal *tokenreview.RejectedError
	switch {
	case errors.As(err, &refusal):
		return &Explanation{Denied: true, Rejected: refusal.Error()}, nil
	case err != nil:
		return nil, err
	}
	e := &Explanation{Identity: &Identity{
		Username: user.GetName(), UID: user.GetUID(), Groups: user.GetGroups(), Extra: user.GetExtra(),
	}}
	if q.Request == nil {
		return e, nil
	}
	request := *q.Request
	request.User = user
	e.Verdicts = authz.Explain(compilePolicy(cfg), request, j)
	for _, v := range e.Verdicts {
		e.Denied = e.Denied || v.Outcome == authz.Denied
	}
	return e, nil
}

// find reads or asks for the job.
func (c *core) find(ctx context.Context, q Question) (*job.Job, error) {
	if q.Reply != nil {
		reply, err := gitlab.ParseAllowedAgents(q.Reply)
		if err != nil {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		return reply.Job(), nil
	}
	answer, err := c.registry.Lookup(ctx, q.Credential)
	if err != nil {
		return nil, err
	}
	return answer.Job, nil
}
