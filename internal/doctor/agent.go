package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
	"github.com/jobgate/jobgate/tokenreview"
)

// checkAgent looks for the agent in GitLab's list for the job.
func (e *examination) checkAgent(context.Context) Finding {
	f := Finding{Name: "agent"}
	r := e.gitlab.reply
	if e.subject.clusterName != "" {
		return f.NotChecked("the context logs in to cluster " + e.subject.clusterName + " without an agent")
	}
	if r == nil {
		return f.NotChecked("GitLab has not said which agents the job may use")
	}
	if len(r.Agents) == 0 {
		f.Details = e.whyNotListed()
		return f.Failed("GitLab lists no agent for this job", addToCIAccess)
	}
	all := listIDs(e.report.Job.Agents)
	if e.agentID == 0 && len(r.Agents) == 1 {
		e.agentID = r.Agents[0].ID
	}
	if e.agentID == 0 {
		return f.NotChecked("it is unknown which agent to check (GitLab lists " + all + "); give --context or --agent")
	}
	if e.listed() == nil {
		f.Details = e.whyNotListed()
		return f.Failed(fmt.Sprintf("GitLab does not list agent %d for this job; it lists %s", e.agentID, all), addToCIAccess)
	}
	return f.Well(fmt.Sprintf("GitLab lists agent %d for this job (all: %s)", e.agentID, all))
}

const addToCIAccess = "check ci_access in the agent's config.yaml (.gitlab/agents/<agent>/config.yaml in its project) for each of " +
	"the possible reasons above"

// listed is GitLab's entry of the agent, or nil.
func (e *examination) listed() *gitlab.AllowedAgent {
	if e.gitlab.reply == nil {
		return nil
	}
	agents := e.gitlab.reply.Agents
	i := slices.IndexFunc(agents, func(a gitlab.AllowedAgent) bool { return a.ID == e.agentID })
	if i < 0 {
		return nil
	}
	return &agents[i]
}

// whyNotListed are the possible reasons why GitLab does not list the agent, without those that the job rules out
// (lib/api/ci/jobs.rb: the finder, then the filters by environment and by protected ref).
func (e *examination) whyNotListed() []string {
	v := e.Variables
	reasons := []string{fmt.Sprintf("project %s, or one of its groups, must be under ci_access.projects or ci_access.groups "+
		"(GitLab ignores the keys project and group)", e.quote(v(cijob.VarProjectPath))),
		"the project or group must be among the first 500 under its key (100 before GitLab 17.0); GitLab ignores the rest without a message"}
	if name := v(cijob.VarEnvironmentName); name == "" {
		reasons = append(reasons, `the job has no environment, so an entry with environments does not admit it, not even with "*"`)
	} else {
		reasons = append(reasons, fmt.Sprintf("environment %s must match the entry's environments, if it has any", e.quote(name)))
	}
	switch {
	case cijob.OfMergeRequest(v):
		reasons = append(reasons, "an entry with protected_branches_only never admits a merge request's pipeline")
	case v(cijob.VarRefProtected) != "true":
		reasons = append(reasons, fmt.Sprintf("ref %s is not protected, so an entry with protected_branches_only does not admit it",
			e.quote(v(cijob.VarRefName))))
	}
	if !e.isLicensed() {
		reasons = append(reasons, "without a Premium licence, GitLab ignores entries with access_as other than agent")
	}
	return append(reasons,
		fmt.Sprintf("the agent's project must be in the same top-level group, %s; in another group, or for ci_access.instance, "+
			"GitLab's administrator must have turned on instance level authorization (GitLab 18.1; ci_access.instance: 17.11)",
			e.quote(v(cijob.VarRootNamespace))),
		"if several entries name the project, only the most specific counts: the project's own, then that of the nearest group",
		"GitLab reads config.yaml on the default branch only, and a change takes a minute or two",
	)
}

// isLicensed says whether another agent proves that the licence covers every access_as.
func (e *examination) isLicensed() bool {
	return slices.ContainsFunc(e.gitlab.reply.Agents, func(a gitlab.AllowedAgent) bool {
		c, err := a.ParseConfiguration()
		return err == nil && c.AccessAs != job.AsAgent
	})
}

// expectation is the identity that follows from GitLab's answer.
type expectation struct {
	user user.Info    // nil: unknown
	mode job.AccessAs // of the agent's access_as
}

// checkAccess judges the agent's ci_access entry as jobgate does.
func (e *examination) checkAccess(context.Context) Finding {
	f := Finding{Name: "access"}
	listed := e.listed()
	if listed == nil {
		return f.NotChecked("there is no agent that GitLab lists")
	}
	configuration, err := listed.ParseConfiguration()
	if err != nil {
		return unusable(f, err)
	}
	identity, err := e.identify(configuration)
	if err != nil {
		return unusable(f, err)
	}
	e.expects = expectation{user: identity, mode: configuration.AccessAs}
	if denied := identity.GetExtra()[extras.Denied]; len(denied) > 0 {
		// Only the API server knows whether jobgate can read the project's environments.
		return f.Warned("if jobgate can learn the environment's name, it refuses every request: "+denied[0],
			"run the job in an environment or on a ref that the entry admits, or change the entry in the agent's config.yaml")
	}
	return f.Well(expected(configuration.AccessAs, identity))
}

func unusable(f Finding, err error) Finding {
	what := err.Error()
	var rejected *tokenreview.RejectedError
	if !errors.As(err, &rejected) {
		what = "the agent's ci_access entry cannot be used: " + what
	}
	return f.Failed(what, "correct access_as in the agent's config.yaml")
}

// identify makes the identity with jobgate's own code, from GitLab's answer and the job's variables. What only the cluster's
// admin knows is assumed in the job's favour: that the impersonation is allowed, and that GitLab itself withholds agents from
// unprotected refs.
func (e *examination) identify(c *job.Configuration) (user.Info, error) {
	j := e.gitlab.reply.Job()
	if name := e.Variables(cijob.VarEnvironmentName); name != "" {
		j.Environment.Name = job.KnownFact(name)
	}
	allowed := policy.Impersonate{
		Users: []string{c.Impersonate.Username}, UIDs: []string{c.Impersonate.UID}, Groups: c.Impersonate.Groups,
	}
	for _, extra := range c.Impersonate.Extra {
		allowed.ExtraKeys = append(allowed.ExtraKeys, extra.Key)
	}
	rules := policy.Compile(policy.Rules{Agents: []policy.Agent{{ID: e.agentID}}, FiltersProtectedBranches: true})
	return tokenreview.New(nil, tokenreview.Config{
		Policy: rules,
		Agents: []tokenreview.Agent{{ID: e.agentID, Impersonate: allowed}},
	}, decision.NewLog(nil, nil)).Identify(j, e.agentID)
}

// expected says who the job is to the cluster.
func expected(mode job.AccessAs, u user.Info) string {
	switch mode {
	case job.AsCIJob:
		return fmt.Sprintf("access_as ci_job: user %s, groups %s", u.GetName(), strings.Join(u.GetGroups(), ", "))
	case job.AsImpersonated:
		return fmt.Sprintf("access_as impersonate: user %s, groups %s, if the cluster's admin allows it",
			policy.Quote(u.GetName()), policy.List(u.GetGroups()))
	default:
		return fmt.Sprintf("access_as agent: user %s, or the ServiceAccount that the cluster's admin has given the agent; every job for "+
			"which GitLab lists the agent is this same user, with ci_access.instance every job of the GitLab instance", u.GetName())
	}
}
