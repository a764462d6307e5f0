// Package authz implements k8s.io/apiserver's authorizer.Authorizer for the requests of GitLab CI jobs.
//
// It knows what a job's identity says of it, what GitLab and the cluster's admin ask of a job, and how a job proves it.
// It must not know tokens, HTTP, nor where a fact about a job came from. It denies, or has no opinion and leaves the
// decision to RBAC: it never allows.
//
// A request is judged in this order, and the first failure denies it:
//
//  1. The user's extras. Without agent.gitlab.com/ci_job_id the request is not a job's: no opinion. Malformed: denied.
//     Discovery is left to RBAC whoever asks.
//  2. The login. A job that was logged in only to be told why it may do nothing carries jobgate.io/denied.
//  3. The job. It has ended, or GitLab has not confirmed it for too long. A job that this instance has not seen is judged
//     by its extras alone.
//  4. The agent. GitLab no longer lists it for the job, or what GitLab says and what the extras say contradict.
//  5. ci_access. The agent's entry asks for an environment or a protected ref, as package rule reads it.
//  6. Impersonation, where some restriction could be walked around by it.
//  7. The restrictions of the cluster's admin, in the order of the configuration.
//
// It fails closed: what is doubtful, contradictory or not known when it is needed denies, and the reason says what would
// mend it. Reasons are read by the authors of CI jobs, so they hold nothing unescaped or unbounded of others' choosing.
package authz

import (
	"context"
	"strings"
	"sync/atomic"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/samplelog"
)

// Jobs is where jobs are found.
type Jobs interface {
	// LookupID returns what is known of a job by its id. The error is job.ErrUnknown for a job that was never seen here,
	// which decides nothing, and a *gitlab.RejectedError for one that GitLab has since rejected. Any other error means a
	// job that GitLab has not confirmed for longer than an answer may be used.
	LookupID(ctx context.Context, id int64) (job.Answer, error)
}

// Policy is what the cluster's admin configured.
type Policy struct {
	// Agents are the ids of the agents that stand for this cluster.
	Agents []int64
	// AgentNames are what messages call them besides their ids; those without one are called by the id alone.
	AgentNames map[int64]string
	// FiltersProtectedBranches says that GitLab lists an agent with protected_branches_only for jobs on protected refs
	// alone, as 17.10 and later do.
	FiltersProtectedBranches bool
	// Restrictions are the cluster's own rules.
	Restrictions []Restriction
}

// Authorizer denies what a job may not do here. It is safe for concurrent use.
type Authorizer struct {
	jobs   Jobs
	policy atomic.Pointer[policy]
	log    *samplelog.Log
}

var _ authorizer.Authorizer = (*Authorizer)(nil)

// New returns an authorizer. The error says which restriction cannot be used.
func New(jobs Jobs, p Policy) (*Authorizer, error) {
	a := &Authorizer{jobs: jobs, log: samplelog.New()}
	if err := a.Configure(p); err != nil {
		return nil, err
	}
	return a, nil
}

// Configure replaces the policy, or leaves it and returns an error. Requests already being judged end under the old one.
func (a *Authorizer) Configure(p Policy) error {
	compiled, err := compile(p)
	if err != nil {
		return err
	}
	a.policy.Store(compiled)
	return nil
}

// Authorize returns authorizer.DecisionDeny with a reason, or authorizer.DecisionNoOpinion. The error is always nil.
func (a *Authorizer) Authorize(ctx context.Context, attrs authorizer.Attributes) (authorizer.Decision, string, error) {
	if denial := a.Decide(ctx, attrs); denial != nil {
		return authorizer.DecisionDeny, denial.Message, nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// Decide is Authorize for callers that also want to know the rule: nil is no opinion.
func (a *Authorizer) Decide(ctx context.Context, attrs authorizer.Attributes) *Denial {
	info := attrs.GetUser()
	if info == nil || !isCIJob(info.GetExtra()) || isDiscovery(attrs) {
		return nil
	}
	c := inquiry{policy: a.policy.Load()}
	denial := a.judge(ctx, &c, attrs)
	if denial != nil {
		c.request = requestOf(attrs)
		a.logDenial(klog.FromContext(ctx), &c, denial)
	}
	return denial
}

func (a *Authorizer) judge(ctx context.Context, c *inquiry, attrs authorizer.Attributes) *Denial {
	if denial := c.read(attrs.GetUser().GetExtra()); denial != nil {
		return denial
	}
	if denial := c.judgeLogin(); denial != nil {
		return denial
	}
	answer, err := a.jobs.LookupID(ctx, c.claims.job)
	if denial := c.judgeJob(answer.Job, err); denial != nil {
		return denial
	}
	if denial := c.judgeAgent(); denial != nil {
		return denial
	}
	c.gatherFacts()
	if denial := c.judgeCIAccess(); denial != nil {
		return denial
	}
	if len(c.policy.restrictions) == 0 {
		return nil
	}
	c.request = requestOf(attrs)
	if denial := c.judgeImpersonation(); denial != nil {
		return denial
	}
	for i := range c.policy.restrictions {
		if denial := c.judgeRestriction(&c.policy.restrictions[i]); denial != nil {
			return denial
		}
	}
	return nil
}

// isDiscovery says whether the request is for the documents by which clients learn what the cluster serves. They hold no
// object, and RBAC shows them to everybody who is logged in. Denying them would keep every reason from its reader:
// kubectl asks for them first, and prints only "Forbidden: unknown" when it may not have them.
func isDiscovery(attrs authorizer.Attributes) bool {
	if attrs.IsResourceRequest() || attrs.GetVerb() != "get" {
		return false
	}
	switch path := attrs.GetPath(); path {
	case "/api", "/apis", "/version", "/version/":
		return true
	default:
		return strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/apis/") || strings.HasPrefix(path, "/openapi/")
	}
}

// logDenial writes what an admin would look for, and never the whole request.
func (a *Authorizer) logDenial(logger klog.Logger, c *inquiry, denial *Denial) {
	a.log.Info(logger, "Request denied", "rule", denial.Rule, "message", denial.Message,
		"job", c.claims.job, "project", c.claims.project, "agent", c.claims.agent,
		"verb", short(c.request.verb), "resource", short(c.request.resource), "subresource", short(c.request.subresource),
		"namespace", short(c.request.namespace))
}
