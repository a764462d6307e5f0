package authz

import (
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
)

// Outcome is what one rule makes of one request.
type Outcome string

// The outcomes.
const (
	OK            Outcome = "ok"
	Denied        Outcome = "denied"
	NotApplicable Outcome = "not applicable"
)

// Verdict is one rule's answer, for an admin who wants to know why.
type Verdict struct {
	Rule Rule
	// Restriction is the restriction's name, where the rule is one.
	Restriction string
	Outcome     Outcome
	// Reason is the message of a denial, or why a rule does not apply; empty where the rule is satisfied.
	Reason string
}

// Explain says what each rule makes of a request, in the order in which Authorize asks, which stops at the first denial.
// Extras that cannot be used make a single verdict. j is what is known of the job, nil for one that this instance has not
// seen; whether it has ended, or was not confirmed for too long, is for the caller to say. Nothing is logged.
func (a *Authorizer) Explain(attrs authorizer.Attributes, j *job.Job) []Verdict {
	info := attrs.GetUser()
	if info == nil || !isCIJob(info.GetExtra()) {
		return []Verdict{notApplicable(RuleMalformed, "the user is no CI job: it has no extra "+extras.Job)}
	}
	if isDiscovery(attrs) {
		return []Verdict{notApplicable(RuleDiscovery, "discovery is left to RBAC whatever the job")}
	}
	c := inquiry{policy: a.policy.Load(), request: requestOf(attrs)}
	if denial := c.read(info.GetExtra()); denial != nil {
		return []Verdict{verdict(denial.Rule, denial)}
	}
	verdicts := []Verdict{verdict(RuleMalformed, nil), verdict(RuleUnknownAgent, nil)}
	verdicts = append(verdicts, verdict(RuleDeniedLogin, c.judgeLogin()))
	verdicts = append(verdicts, c.explainAgent(j)...)
	c.gatherFacts()
	verdicts = append(verdicts, c.explainCIAccess(), c.explainImpersonation())
	for i := range c.policy.restrictions {
		verdicts = append(verdicts, c.explainRestriction(&c.policy.restrictions[i]))
	}
	return verdicts
}

func (c *inquiry) explainAgent(j *job.Job) []Verdict {
	c.job = j
	denial, isJudged := c.judgeAgent(), true
	var verdicts []Verdict
	for _, r := range []Rule{RuleNotListed, RuleConfiguration, RuleContradiction} {
		switch {
		case j == nil:
			verdicts = append(verdicts, notApplicable(r, "this instance has not seen the job; its extras alone count"))
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

func (c *inquiry) explainCIAccess() Verdict {
	if c.agent == nil || c.agent.Err != nil {
		return notApplicable(RuleCIAccess, "no usable entry of the agent for the job is known")
	}
	if access := c.agent.CIAccess(c.policy.filtersProtectedBranches); !access.Asks() {
		return notApplicable(RuleCIAccess, "the agent's entry asks for nothing that is left to check")
	}
	return verdict(RuleCIAccess, c.judgeCIAccess())
}

func (c *inquiry) explainImpersonation() Verdict {
	if !c.request.isImpersonation() {
		return notApplicable(RuleImpersonation, "the request does not impersonate")
	}
	return verdict(RuleImpersonation, c.judgeImpersonation())
}

func (c *inquiry) explainRestriction(r *restriction) Verdict {
	v := notApplicable(RuleRestriction, "the request does not match its filters")
	if r.matches(&c.request, c.claims.agent) {
		v = verdict(RuleRestriction, c.judgeRestriction(r))
	}
	v.Restriction = r.name
	return v
}

func verdict(r Rule, denial *Denial) Verdict {
	if denial == nil {
		return Verdict{Rule: r, Outcome: OK}
	}
	return Verdict{Rule: r, Outcome: Denied, Reason: denial.Message}
}

func notApplicable(r Rule, why string) Verdict {
	return Verdict{Rule: r, Outcome: NotApplicable, Reason: why}
}
