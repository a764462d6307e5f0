package authz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/rule"
)

// inquiry is one request of a job while it is judged. It is filled from top to bottom: each rule uses what those before
// it have established. A request that is not denied allocates nothing: reasons are made only for a denial.
type inquiry struct {
	policy  *policy
	request request
	claims  claims
	job     *job.Job   // nil: not seen by this instance
	agent   *job.Agent // nil like job
	facts   facts
}

// facts are what ci_access and restrictions ask about: what the extras say, and what this instance has learnt of the job.
type facts struct {
	rule.Job
	tier string
}

func (c *inquiry) read(extra map[string][]string) *Denial {
	if wrong := c.claims.read(extra); wrong != "" {
		return deny(RuleMalformed, "the identity's extra %s; an identity made by jobgate is well formed, so ask the cluster's "+
			"admin who made this one", wrong)
	}
	if !c.policy.serves(c.claims.agent) {
		return deny(RuleUnknownAgent, "%s does not stand for this cluster; use a context of one that does, or have it added "+
			"to jobgate's agents", c.policy.label(c.claims.agent))
	}
	return nil
}

func (c *inquiry) judgeLogin() *Denial {
	if !c.claims.isDenied {
		return nil
	}
	reason := strings.TrimPrefix(c.claims.denied, prefix)
	if reason == "" {
		reason = c.who() + " was refused when it logged in, without a reason"
	}
	return deny(RuleDeniedLogin, "%s", reason)
}

// judgeJob takes what was found under the id that the extras claim.
func (c *inquiry) judgeJob(j *job.Job, err error) *Denial {
	if err == nil && j != nil {
		c.job = j
		return nil
	}
	if errors.Is(err, job.ErrUnknown) {
		return nil
	}
	var rejected *gitlab.RejectedError
	switch {
	case !errors.As(err, &rejected):
		return deny(RuleUnconfirmed, "GitLab has not confirmed for too long that %s is still running; try again when GitLab "+
			"answers", c.who())
	case rejected.Status == 403:
		return deny(RuleEnded, "GitLab no longer lets the user of %s use its API; mend the account in GitLab", c.who())
	default:
		return deny(RuleEnded, "%s has ended; its token is no good any more", c.who())
	}
}

func (c *inquiry) judgeAgent() *Denial {
	if c.job == nil {
		return nil
	}
	c.agent = c.job.Agent(c.claims.agent)
	if c.agent == nil {
		return deny(RuleNotListed, "GitLab no longer lets %s use %s; check ci_access in the agent's config.yaml",
			c.who(), c.policy.label(c.claims.agent))
	}
	if c.agent.Err != nil {
		return deny(RuleConfiguration, "the ci_access entry of %s for %s cannot be used any more (%s); mend the agent's "+
			"config.yaml", c.policy.label(c.claims.agent), c.who(), rule.Printable(c.agent.Err.Error(), maxCause))
	}
	if about := c.contradiction(); about != "" {
		return deny(RuleContradiction, "the identity of %s and GitLab contradict each other about its %s; try again in a few "+
			"seconds, when the API server has asked anew", c.who(), about)
	}
	return nil
}

// contradiction names what the extras and what is known of the job differ in: empty for nothing. A ref's protection is
// not among it: it can change while a job runs, and then the worse of both counts.
func (c *inquiry) contradiction() string {
	j, claimed := c.job, &c.claims
	var slug, tier string
	if j.Environment != nil {
		slug, tier = j.Environment.Slug, j.Environment.Tier
	}
	switch {
	case j.ID != claimed.job:
		return "id"
	case j.ProjectID != claimed.project:
		return "project"
	case claimed.pipeline != 0 && j.PipelineID != claimed.pipeline:
		return "pipeline"
	case claimed.configProject != 0 && c.agent.ConfigProjectID != claimed.configProject:
		return "agent's project"
	case slug != claimed.slug, tier != claimed.tier, differ(j.Facts.EnvironmentName, claimed.environment):
		return "environment"
	case differ(j.Facts.Ref, claimed.ref):
		return "ref"
	default:
		return ""
	}
}

// differ compares what may not be known on either side.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

func (c *inquiry) judgeCIAccess() *Denial {
	if c.agent == nil {
		return nil
	}
	access := c.agent.CIAccess(c.policy.filtersProtectedBranches)
	if refusal := access.Refusal(&c.facts.Job); refusal != "" {
		return deny(RuleCIAccess, "%s does not satisfy the ci_access entry of %s: %s",
			c.who(), c.policy.label(c.claims.agent), refusal)
	}
	return nil
}

// who names the job for a reason. It is no String method: an inquiry that is handed to fmt goes to the heap.
func (c *inquiry) who() string {
	return fmt.Sprintf("job %d of project %d", c.claims.job, c.claims.project)
}

// gatherFacts must come after the job is known, if it is, and does not contradict.
func (c *inquiry) gatherFacts() {
	c.facts = facts{
		Job: rule.Job{
			Environment:    rule.Environment{Slug: c.claims.slug, Name: c.claims.environment},
			Ref:            c.claims.ref,
			RefProtected:   c.claims.refProtected == "true",
			RefUnprotected: c.claims.refProtected == "false",
		},
		tier: c.claims.tier,
	}
	if c.job != nil {
		c.facts.renew(&c.job.Facts)
	}
}

// renew adds what was learnt of the job.
func (f *facts) renew(learnt *job.Facts) {
	if learnt.EnvironmentName != "" {
		f.Environment.Name = learnt.EnvironmentName
	}
	if learnt.Ref != "" {
		f.Ref = learnt.Ref
	}
	f.RefUnprotected = f.RefUnprotected || learnt.RefProtected == job.Unprotected
	f.RefProtected = !f.RefUnprotected && (f.RefProtected || learnt.RefProtected == job.Protected)
	f.EnvironmentUnknown, f.ProtectionUnknown = learnt.EnvironmentUnknown, learnt.ProtectionUnknown
}
