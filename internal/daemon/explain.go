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
	// Reply is a reply of GitLab's allowed_agents, and Claims are those of an ID token, which are not verified. If both
	// are nil, GitLab is asked about Credential; its Expires is not used.
	Reply      []byte
	Claims     []byte
	Credential job.Credential
	// Request is a request without its user; nil where only the identity is asked for.
	Request *authorizer.AttributesRecord
	// UserAgent names this program to GitLab.
	UserAgent string
}

// Explanation is who a job is to the cluster, and what each rule decides about a request.
type Explanation struct {
	// Denied is the result: false is no opinion.
	Denied bool `json:"denied"`
	// Unverified says that the job comes from claims that anyone could have written.
	Unverified bool `json:"unverified,omitempty"`
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
	e := &Explanation{Unverified: q.Claims != nil}
	j, err := c.find(ctx, cfg, q)
	if err != nil {
		return e.reject(err)
	}
	user, err := c.authenticator.Identify(j, q.AgentID)
	if err != nil {
		return e.reject(err)
	}
	e.Identity = &Identity{Username: user.GetName(), UID: user.GetUID(), Groups: user.GetGroups(), Extra: user.GetExtra()}
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

// reject explains a definite no, and returns any other error.
func (e *Explanation) reject(err error) (*Explanation, error) {
	var rejected *job.RejectedError
	var refusal *tokenreview.RejectedError
	if !errors.As(err, &rejected) && !errors.As(err, &refusal) {
		return nil, err
	}
	e.Denied, e.Rejected = true, err.Error()
	return e, nil
}

// The errors of questions that this configuration leaves without an answer.
var (
	ErrNoGrants   = errors.New("the configuration has no grants, so the job needs an agent")
	ErrNoIDTokens = errors.New("the configuration takes no ID tokens: idTokens.audience is empty")
	ErrNotOurs    = errors.New("the token is not an ID token for this cluster, and jobgate leaves it to other authenticators: " +
		"compare its iss and aud with idTokens.issuer and idTokens.audience")
)

// notInReply is why a reply's job may lack a fact: the server would ask GitLab for it with the job's token.
const notInReply = "a reply of allowed_agents does not say it, and explain asks nothing about a reply; with --token-file it asks GitLab, " +
	"and --claims says it"

// find reads or asks for the job.
func (c *core) find(ctx context.Context, cfg *config.Configuration, q Question) (*job.Job, error) {
	isIDToken := q.Claims != nil || q.Credential.Kind == job.IDToken
	switch {
	case isIDToken && cfg.IDTokens.Audience == "":
		return nil, ErrNoIDTokens
	case q.AgentID == 0 && len(cfg.Grants) == 0:
		return nil, ErrNoGrants
	case q.Reply != nil:
		reply, err := gitlab.ParseAllowedAgents(q.Reply)
		if err != nil {
			return nil, fmt.Errorf("read the reply: %w", err)
		}
		j := reply.Job()
		j.ExplainMissing(notInReply)
		return j, nil
	case q.Claims != nil:
		return c.idTokens.Describe(q.Claims)
	case isIDToken:
		if _, ours := c.idTokens.Ours(q.Credential.Token); !ours {
			return nil, ErrNotOurs
		}
	}
	answer, err := c.registry.Lookup(ctx, q.Credential)
	if err != nil {
		return nil, err
	}
	return answer.Job, nil
}
