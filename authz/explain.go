package authz

import (
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// Outcome is what one rule decides about one request.
type Outcome string

// The outcomes.
const (
	OK            Outcome = "ok"
	Denied        Outcome = "denied"
	WouldDeny     Outcome = "would deny" // a restriction in report mode
	NotApplicable Outcome = "not applicable"
)

// Verdict is one rule's answer, for an admin who wants to know why.
type Verdict struct {
	Rule Rule `json:"rule"`
	// Restriction is the restriction's name, where the rule is one.
	Restriction string  `json:"restriction,omitempty"`
	Outcome     Outcome `json:"outcome"`
	// Reason is the message of a denial, or why a rule does not apply; empty where the rule is satisfied.
	Reason string `json:"reason,omitempty"`
}

// Explain says what each rule decides about a request, in the order in which Authorize asks, which stops at the first denial.
// Extras that cannot be used make a single verdict. j is what is known of the job, nil for one that this instance has not
// seen; whether it has ended, or was not confirmed for too long, is for the caller to say. Nothing is recorded.
func Explain(p *policy.Policy, attrs authorizer.Attributes, j *job.Job) []Verdict {
	info := attrs.GetUser()
	if info == nil || !extras.Is(info.GetExtra()) {
		return []Verdict{notApplicable(RuleMalformed, "the user is no CI job: it has no extra "+extras.Job)}
	}
	if isDiscovery(attrs) {
		return []Verdict{notApplicable(RuleDiscovery, "discovery is left to RBAC for every job")}
	}
	e := &evaluation{}
	e.begin(p, requestOf(attrs))
	if denial := e.readExtras(info.GetExtra()); denial != nil {
		return []Verdict{verdict(denial.Rule, denial)}
	}
	verdicts := []Verdict{verdict(RuleMalformed, nil), verdict(RuleUnknownAgent, nil)}
	verdicts = append(verdicts, verdict(RuleDeniedLogin, e.judgeLogin()))
	verdicts = append(verdicts, e.explainAgent(j)...)
	verdicts = append(verdicts, verdict(RuleBlocked, e.judgeBlocked()), e.explainPermission(), e.explainImpersonation())
	for i := range p.Restrictions {
		verdicts = append(verdicts, e.explainRestriction(&p.Restrictions[i]))
	}
	return verdicts
}

func (e *evaluation) explainAgent(j *job.Job) []Verdict {
	e.known = j
	denial, isJudged := e.judgeAgent(), true
	var verdicts []Verdict
	for _, r := range []Rule{RuleNotListed, RuleConfiguration, RuleContradiction} {
		switch {
		case j == nil:
			verdicts = append(verdicts, notApplicable(r, "this instance has not seen the job; its extras alone count"))
		case e.claims.AgentID == 0 && r != RuleContradiction:
			verdicts = append(verdicts, notApplicable(r, "the job uses no agent"))
		case denial != nil && denial.Rule == r:
			verdicts, isJudged = append(verdicts, verdict(r, denial)), false
		case isJudged:
			verdicts = append(verdicts, verdict(r, nil))
		default:
			verdicts = append(verdicts, notApplicable(r, "the rule before it has to be satisfied first"))
		}
	}
	return verdicts
}

func (e *evaluation) explainPermission() Verdict {
	if e.claims.AgentID == 0 {
		return verdict(RuleNoGrant, e.judgePermission())
	}
	if e.agent == nil || e.agent.Err != nil {
		return notApplicable(RuleCIAccess, "no usable entry of the agent for the job is known")
	}
	if access := e.policy.CIAccess(e.agent); !access.Asks() {
		return notApplicable(RuleCIAccess, "the agent's entry requires nothing that is left to check")
	}
	return verdict(RuleCIAccess, e.judgePermission())
}

func (e *evaluation) explainImpersonation() Verdict {
	if !e.impersonates {
		return notApplicable(RuleImpersonation, "the request does not impersonate")
	}
	for i := range e.policy.Restrictions {
		if r := &e.policy.Restrictions[i]; r.Mode == policy.Enforce && e.breaks(r) {
			return verdict(RuleImpersonation, e.denialBy(r))
		}
	}
	return verdict(RuleImpersonation, nil)
}

func (e *evaluation) explainRestriction(r *policy.CompiledRestriction) Verdict {
	var v Verdict
	switch {
	case !e.concerns(r):
		v = notApplicable(RuleRestriction, "the request does not match its filters")
	case !e.breaks(r):
		v = verdict(RuleRestriction, nil)
	default:
		v = verdict(RuleRestriction, e.denialBy(r))
		if r.Mode == policy.Report {
			v.Outcome = WouldDeny
		}
	}
	v.Restriction = r.Name
	return v
}

func verdict(r Rule, denial *Denial) Verdict {
	if denial == nil {
		return Verdict{Rule: r, Outcome: OK}
	}
	return Verdict{Rule: r, Restriction: denial.Restriction, Outcome: Denied, Reason: denial.Message}
}

func notApplicable(r Rule, why string) Verdict {
	return Verdict{Rule: r, Outcome: NotApplicable, Reason: why}
}
