// Package authz implements k8s.io/apiserver's authorizer.Authorizer for the requests of GitLab CI jobs.
//
// It knows what a job's identity says of it, and in which order the rules are judged. It must not know tokens, HTTP, nor
// where a fact about a job came from. It denies, or has no opinion and leaves the decision to RBAC: it never allows.
//
// A request is judged in this order, and the first failure denies it:
//
//  1. The user's extras. Without agent.gitlab.com/ci_job_id the request is not a job's: no opinion. Malformed: denied.
//     Discovery is left to RBAC for every user.
//  2. The login. A job that was logged in only to be told why it may do nothing carries jobgate.io/denied.
//  3. The job. It has ended, or GitLab has not confirmed it for too long. A job that this instance has not seen is judged
//     by its extras alone.
//  4. The agent. GitLab no longer lists it for the job, or what GitLab says and what the extras say contradict.
//  5. The cluster's blocked lists.
//  6. Permission: the agent's ci_access entry, or the grants, for a job without an agent.
//  7. The restrictions of the cluster's admin, in the order of the configuration: those that match the request, and for an
//     impersonation, by which any of them could be escaped, all that apply to the job's agent.
//
// It fails closed: what is doubtful, contradictory or not known when it is needed denies, and the reason says what to do.
// Reasons are read by the authors of CI jobs, so they hold nothing unescaped or unbounded that others chose.
package authz

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// Jobs is where jobs are found.
type Jobs interface {
	// LookupID returns what is known of a job by its id. The error is job.ErrUnknown for a job that was never seen here,
	// which decides nothing, and a *job.RejectedError for one that has ended since. Any other error means a job that has
	// not been confirmed for longer than an answer may be used, or not at all.
	LookupID(ctx context.Context, j job.ByID) (job.Answer, error)
}

// Authorizer denies what a job may not do here. It is safe for concurrent use.
type Authorizer struct {
	jobs        Jobs
	policy      atomic.Pointer[policy.Policy]
	log         *decision.Log
	reported    *reports
	evaluations sync.Pool
	metrics     metrics
}

var _ authorizer.Authorizer = (*Authorizer)(nil)

// metrics count what is decided without a denial.
type metrics struct {
	wouldDeny  *prometheus.CounterVec
	unverified prometheus.Counter
}

// New returns an authorizer, and registers its metrics unless the registerer is nil.
func New(jobs Jobs, p *policy.Policy, log *decision.Log, r prometheus.Registerer) *Authorizer {
	f := promauto.With(r)
	a := &Authorizer{
		jobs: jobs, log: log, reported: newReports(),
		metrics: metrics{
			wouldDeny: f.NewCounterVec(prometheus.CounterOpts{
				Name: "jobgate_restriction_would_deny_total",
				Help: "Requests that a restriction in report mode would have denied, by restriction.",
			}, []string{"restriction"}),
			unverified: f.NewCounter(prometheus.CounterOpts{
				Name: "jobgate_ci_access_unverified_total",
				Help: "Requests admitted by a wildcard of ci_access that only GitLab has matched, because it refuses the environment's name.",
			}),
		},
	}
	a.evaluations.New = func() any { return new(evaluation) }
	a.Configure(p)
	return a
}

// Configure replaces the policy. Requests already being judged end under the old one.
func (a *Authorizer) Configure(p *policy.Policy) {
	a.policy.Store(p)
	a.reported.forget()
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
	// From a pool, so that a request that is not denied allocates nothing.
	e := a.evaluations.Get().(*evaluation)
	defer a.evaluations.Put(e)
	return a.decide(ctx, e, attrs)
}

// decide judges with a used evaluation or a new one. One that has been used allocates nothing but for a denial.
func (a *Authorizer) decide(ctx context.Context, e *evaluation, attrs authorizer.Attributes) *Denial {
	info := attrs.GetUser()
	if info == nil || !extras.Is(info.GetExtra()) || isDiscovery(attrs) {
		return nil
	}
	e.begin(a.policy.Load(), requestOf(attrs))
	denial := a.judge(ctx, e, attrs)
	if denial != nil {
		a.log.Write(klog.FromContext(ctx), e.record(decision.Denied, denial, attrs))
	}
	return denial
}

func (a *Authorizer) judge(ctx context.Context, e *evaluation, attrs authorizer.Attributes) *Denial {
	if denial := e.readExtras(attrs.GetUser().GetExtra()); denial != nil {
		return denial
	}
	if denial := e.judgeLogin(); denial != nil {
		return denial
	}
	answer, err := a.jobs.LookupID(ctx, e.jobByID())
	if denial := e.judgeJob(answer.Job, err); denial != nil {
		return denial
	}
	if denial := e.judgeAgent(); denial != nil {
		return denial
	}
	if denial := e.judgeBlocked(); denial != nil {
		return denial
	}
	if denial := e.judgePermission(); denial != nil {
		return denial
	}
	if e.unverified {
		a.metrics.unverified.Inc()
	}
	return a.judgeRestrictions(ctx, e, attrs)
}

// isDiscovery says whether the request is for the documents by which clients learn what the cluster serves. They hold no
// object, and RBAC shows them to every user who is logged in. Denying them would keep every reason from its reader:
// kubectl asks for them first, and prints only "Forbidden: unknown" when it may not have them.
func isDiscovery(attrs authorizer.Attributes) bool {
	if attrs.IsResourceRequest() || attrs.GetVerb() != "get" {
		return false
	}
	for _, root := range [...]string{"/api", "/apis", "/openapi", "/version"} {
		if below, found := strings.CutPrefix(attrs.GetPath(), root); found && (below == "" || below[0] == '/') {
			return true
		}
	}
	return false
}

func requestOf(attrs authorizer.Attributes) policy.Request {
	return policy.Request{
		Verb:        attrs.GetVerb(),
		Namespace:   attrs.GetNamespace(),
		APIGroup:    attrs.GetAPIGroup(),
		Resource:    attrs.GetResource(),
		Subresource: attrs.GetSubresource(),
		IsResource:  attrs.IsResourceRequest(),
	}
}
