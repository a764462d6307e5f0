package authz

import (
	"errors"
	"strings"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// evaluation is one request of a job while it is judged. It is filled from top to bottom: each rule uses what those before
// it have established.
type evaluation struct {
	policy       *policy.Policy
	request      policy.Request
	impersonates bool // the request
	claims       extras.Identity
	known        *job.Job   // nil: not seen by this instance
	agent        *job.Agent // nil: not known, or the job uses none
	// subject is the job as the rules see it: what the extras say, and what this instance knows of the job.
	subject job.Job
	// unverified says that ci_access holds by GitLab's own match alone.
	unverified bool
}

func (e *evaluation) begin(p *policy.Policy, request policy.Request) {
	e.policy, e.request, e.impersonates = p, request, request.IsImpersonation()
	e.known, e.agent, e.unverified = nil, nil, false
}

func (e *evaluation) readExtras(extra map[string][]string) *Denial {
	wrong := e.claims.Decode(extra)
	e.subject = e.claims.Job // before anything is refused: a record names the job as far as it could be read
	if wrong != "" {
		return deny(RuleMalformed, "the identity's extra %s; identities from jobgate are well formed, so ask the cluster's admin "+
			"where this one comes from", wrong)
	}
	switch {
	case e.claims.Cluster != "" && e.claims.Cluster != e.policy.Cluster:
		return deny(RuleUnknownAgent, "%s is logged in to the cluster %s, and this is another one; use this cluster's context",
			e.claims.String(), e.claims.Cluster)
	case e.claims.AgentID != 0 && !e.policy.Serves(e.claims.AgentID):
		return deny(RuleUnknownAgent, "%s is not an agent of this cluster; use the context of an agent of this cluster, or ask the "+
			"cluster's admin to add the agent to jobgate's configuration", e.policy.Label(e.claims.AgentID))
	}
	if e.claims.IsOfAPIServer() {
		e.subject.ExplainMissing("the API server's authentication configuration does not say it")
	}
	return nil
}

func (e *evaluation) judgeLogin() *Denial {
	if !e.claims.IsDenied {
		return nil
	}
	reason := strings.TrimPrefix(e.claims.Denied, prefix)
	if reason == "" {
		reason = e.claims.String() + " was refused when it logged in, without a reason"
	}
	return deny(RuleDeniedLogin, "%s", reason)
}

// jobByID is what to look the job up by. Only an ID token leaves its own id in the extras, and kube-apiserver itself logs in
// nothing else.
func (e *evaluation) jobByID() job.ByID {
	by := job.ByID{ID: e.claims.Job.ID, ProjectID: e.claims.Job.ProjectID, NotLoggedIn: e.claims.IsOfAPIServer()}
	if e.claims.Job.TokenID != "" || by.NotLoggedIn {
		by.Kind = job.IDToken
	}
	return by
}

// judgeJob takes what was found under the id that the extras claim.
func (e *evaluation) judgeJob(j *job.Job, err error) *Denial {
	if err == nil && j != nil {
		e.known = j
		return nil
	}
	if errors.Is(err, job.ErrUnknown) {
		return nil
	}
	var rejected *job.RejectedError
	switch {
	case errors.Is(err, job.ErrCannotConfirm):
		return deny(RuleUnconfirmed, "jobgate has no access token to ask GitLab whether %s is running; ask the cluster's admin to set "+
			"gitlab.tokenFile", e.claims.String())
	case !errors.As(err, &rejected) && e.claims.IsOfAPIServer():
		return deny(RuleUnconfirmed, "GitLab has not confirmed yet that %s is running; try again in a few seconds, and if that does not "+
			"help, ask the cluster's admin whether gitlab.tokenFile may read the project", e.claims.String())
	case !errors.As(err, &rejected):
		return deny(RuleUnconfirmed, "GitLab has not confirmed for too long that %s is still running; try again when GitLab answers",
			e.claims.String())
	case rejected.Rejection == job.ForbiddenUser:
		return deny(RuleEnded, "GitLab no longer lets the user of %s use its API; unblock or confirm the account in GitLab",
			e.claims.String())
	default:
		return deny(RuleEnded, "%s has ended, and its token is no longer valid; start the job again", e.claims.String())
	}
}

func (e *evaluation) judgeAgent() *Denial {
	if e.known == nil {
		return nil
	}
	if e.claims.AgentID != 0 {
		e.agent = e.known.Agent(e.claims.AgentID)
		if e.agent == nil {
			return deny(RuleNotListed, "GitLab no longer lets %s use %s; check ci_access in the agent's config.yaml",
				e.claims.String(), e.policy.Label(e.claims.AgentID))
		}
		if e.agent.Err != nil {
			return deny(RuleConfiguration, "the ci_access entry of %s for %s can no longer be used (%s); fix the agent's config.yaml",
				e.policy.Label(e.claims.AgentID), e.claims.String(), policy.Printable(e.agent.Err.Error(), maxCause))
		}
	}
	if about := e.contradiction(); about != "" {
		return deny(RuleContradiction, "the identity of %s and GitLab contradict each other about its %s; try again in a few "+
			"seconds, when the API server has asked again", e.claims.String(), about)
	}
	e.merge()
	return nil
}

// contradiction names what the extras and what is known of the job differ in: empty for nothing. A ref's protection is
// not among it: it can change while a job runs, and then the worse of both counts.
func (e *evaluation) contradiction() string {
	j, claimed := e.known, &e.claims.Job
	switch {
	case j.ID != claimed.ID:
		return "id"
	case j.ProjectID != claimed.ProjectID:
		return "project"
	case claimed.PipelineID != 0 && j.PipelineID != claimed.PipelineID:
		return "pipeline"
	case e.agent != nil && e.claims.ConfigProjectID != 0 && e.agent.ConfigProjectID != e.claims.ConfigProjectID:
		return "agent's project"
	case j.Environment.Slug != claimed.Environment.Slug, j.Environment.Tier != claimed.Environment.Tier,
		differ(j.Environment.Name.Value, claimed.Environment.Name.Value):
		return "environment"
	case differ(j.Ref.Name, claimed.Ref.Name):
		return "ref"
	default:
		return ""
	}
}

// differ compares what may not be known on either side.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

// merge adds what this instance knows of the job. Of a fact that both tell, what is known here counts, and of a
// protection the worse one.
func (e *evaluation) merge() {
	s, k := &e.subject, e.known
	s.UserID, s.Username = k.UserID, k.Username
	newer(&s.Groups, &k.Groups)
	newer(&s.Roles, &k.Roles)
	newer(&s.Environment.Name, &k.Environment.Name)
	newer(&s.Environment.Protected, &k.Environment.Protected)
	s.Environment.NotMatching = k.Environment.NotMatching
	newer(&s.PipelineSource, &k.PipelineSource)
	if k.Ref.Name != "" {
		s.Ref.Name = k.Ref.Name
	}
	if k.Ref.Type != "" {
		s.Ref.Type = k.Ref.Type
	}
	s.Ref.MergeRequest = s.Ref.MergeRequest || k.Ref.MergeRequest
	s.Ref.Why, s.Ref.ProtectionWhy = k.Ref.Why, k.Ref.ProtectionWhy
	if k.Ref.Protection != job.ProtectionUnknown && s.Ref.Protection != job.Unprotected {
		s.Ref.Protection = k.Ref.Protection
	}
}

func newer[T any](into, from *job.Fact[T]) {
	if from.Known || !into.Known {
		*into = *from
	}
}

func (e *evaluation) judgeBlocked() *Denial {
	if reason := e.policy.Blocked.Reason(&e.subject); reason != "" {
		return deny(RuleBlocked, "%s; ask the cluster's admin", reason)
	}
	return nil
}

// judgePermission asks the agent's entry, or, for a job without an agent, the grants.
func (e *evaluation) judgePermission() *Denial {
	if e.claims.AgentID == 0 {
		if admission := e.policy.Admit(&e.subject); admission.Grant == "" {
			return deny(RuleNoGrant, "the cluster %s does not admit %s: %s", e.policy.Cluster, e.claims.String(), admission.Reason)
		}
		return nil
	}
	if e.agent == nil {
		return nil
	}
	access := e.policy.CIAccess(e.agent)
	if refusal := access.Refusal(&e.subject); refusal != "" {
		return deny(RuleCIAccess, "%s does not satisfy the ci_access entry of %s: %s",
			e.claims.String(), e.policy.Label(e.claims.AgentID), refusal)
	}
	e.unverified = access.Unverified(&e.subject)
	return nil
}

// concerns says whether a restriction has a say in the request. What a job would become by impersonation carries no extras
// of the job, so nothing would be restricted any more. So a job may impersonate only if it meets the requirements of every
// restriction that applies to its agent, whatever that restriction's other filters: the other identity could reach them all.
func (e *evaluation) concerns(r *policy.CompiledRestriction) bool {
	if e.impersonates {
		return r.AppliesTo(e.claims.AgentID)
	}
	return r.Matches(&e.request, e.claims.AgentID)
}

// breaks says whether the restriction would deny the request.
func (e *evaluation) breaks(r *policy.CompiledRestriction) bool {
	return e.concerns(r) && !r.Met(&e.subject)
}

// denialBy is the denial by a restriction that the request breaks.
func (e *evaluation) denialBy(r *policy.CompiledRestriction) *Denial {
	var denial *Denial
	if e.impersonates {
		denial = deny(RuleImpersonation, "%s may not impersonate, because that would escape restriction %s, whose requirements it "+
			"does not meet: %s; run the command without --as, or from a job that meets them",
			e.who(), policy.Quote(r.Name), r.Unmet(&e.subject))
	} else {
		denial = deny(RuleRestriction, "restriction %s does not let %s do this: %s", policy.Quote(r.Name), e.who(), r.Unmet(&e.subject))
	}
	denial.Restriction = r.Name
	return denial
}

// who names the job, and what it logged in through, for a reason.
func (e *evaluation) who() string {
	if e.claims.AgentID == 0 {
		return e.claims.String()
	}
	return e.claims.String() + " (" + e.policy.Label(e.claims.AgentID) + ")"
}

// record says what an admin would look for, and never the whole request.
func (e *evaluation) record(kind decision.Kind, d *Denial, attrs authorizer.Attributes) decision.Record {
	r := decision.Record{
		Decision: kind, Reason: string(d.Rule), Restriction: d.Restriction, Message: d.Message,
		Agent: e.claims.AgentID, Cluster: e.claims.Cluster, Grant: e.claims.Grant, As: short(attrs.GetUser().GetName()),
		Verb: short(attrs.GetVerb()), APIGroup: short(attrs.GetAPIGroup()), Resource: short(attrs.GetResource()),
		Subresource: short(attrs.GetSubresource()), Namespace: short(attrs.GetNamespace()), Name: short(attrs.GetName()),
	}
	if !attrs.IsResourceRequest() {
		r.Path = short(attrs.GetPath())
	}
	r.About(&e.subject)
	r.Username = short(r.Username)
	return r
}
