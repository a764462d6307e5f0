package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/rule"
	"github.com/jobgate/jobgate/tokenreview"
)

// checkAgent looks for the agent among those that GitLab lists for the job.
func (e *examination) checkAgent(context.Context) Finding {
	f := Finding{Name: "agent"}
	r := e.gitlab.reply
	if r == nil {
		return f.notChecked("GitLab has not said which agents the job may use")
	}
	if len(r.Agents) == 0 {
		f.State, f.What = Failure, "GitLab lists no agent for this job"
		f.Do, f.Details = addToCIAccess, e.whyNotListed()
		return f
	}
	all := listIDs(e.report.Job.Agents)
	if e.agentID == 0 && len(r.Agents) == 1 {
		e.agentID = r.Agents[0].ID
	}
	if e.agentID == 0 {
		return f.notChecked("no agent is chosen (GitLab lists " + all + "); give --context or --agent")
	}
	if e.listed() == nil {
		f.State, f.What = Failure, fmt.Sprintf("GitLab does not list agent %d for this job; it lists %s", e.agentID, all)
		f.Do, f.Details = addToCIAccess, e.whyNotListed()
		return f
	}
	f.State, f.What = OK, fmt.Sprintf("GitLab lists agent %d for this job (all: %s)", e.agentID, all)
	return f
}

const addToCIAccess = "check ci_access in the agent's config.yaml (.gitlab/agents/<agent>/config.yaml in its project); " +
	"the reasons above are those that this job leaves open"

// listed is the entry of the agent in question, or nil.
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

// whyNotListed are the reasons for which GitLab may keep the agent from the job, as far as the job does not rule them out
// (lib/api/ci/jobs.rb: the finder, then the filters by environment and by protected ref).
func (e *examination) whyNotListed() []string {
	v := e.Variables
	reasons := []string{fmt.Sprintf("project %s, or a group of it, must be under ci_access.projects or ci_access.groups "+
		"(GitLab ignores project and group without a word)", e.quote(v(cijob.VarProjectPath)))}
	if name := v(cijob.VarEnvironmentName); name == "" {
		reasons = append(reasons, `the job has no environment: an entry with environments never admits it, not even "*"`)
	} else {
		reasons = append(reasons, fmt.Sprintf("environment %s must match the entry's environments, if it has any", e.quote(name)))
	}
	switch {
	case cijob.OfMergeRequest(v):
		reasons = append(reasons, "an entry with protected_branches_only never admits a merge request's pipeline")
	case v(cijob.VarRefProtected) != "true":
		reasons = append(reasons, fmt.Sprintf("ref %s is not protected: an entry with protected_branches_only does not admit it",
			e.quote(v(cijob.VarRefName))))
	}
	if !e.isLicensed() {
		reasons = append(reasons, "without a Premium licence, GitLab drops entries with access_as other than agent")
	}
	return append(reasons,
		fmt.Sprintf("the agent must be registered below the same top-level group, %s, unless the instance authorizes all projects",
			e.quote(v(cijob.VarRootNamespace))),
		"of several entries only the most specific counts: the project's own, then its nearest group's",
		"a change of config.yaml takes a minute or two to arrive; it counts on the default branch only",
	)
}

// isLicensed says whether another agent proves that the job's project may use every access_as.
func (e *examination) isLicensed() bool {
	return slices.ContainsFunc(e.gitlab.reply.Agents, func(a gitlab.AllowedAgent) bool {
		c, err := gitlab.ParseConfiguration(a.Configuration)
		return err == nil && c.AccessAs != gitlab.AsAgent
	})
}

// expectation is whom jobgate will take the job for, by what GitLab says.
type expectation struct {
	user user.Info   // nil: not known
	mode gitlab.Mode // of the agent's access_as
}

// checkAccess judges the agent's ci_access entry as jobgate will.
func (e *examination) checkAccess(context.Context) Finding {
	f := Finding{Name: "access"}
	listed := e.listed()
	if listed == nil {
		return f.notChecked("there is no agent that GitLab lists")
	}
	configuration, err := gitlab.ParseConfiguration(listed.Configuration)
	if err != nil {
		return unusable(f, err)
	}
	identity, err := e.identify(configuration)
	if err != nil {
		return unusable(f, err)
	}
	e.expects = expectation{user: identity, mode: configuration.AccessAs}
	if denied := identity.GetExtra()[extras.Denied]; len(denied) > 0 {
		// Whether jobgate can is for identity to say: the project's environments are open to it, or not.
		f.State = Warning
		f.What = "where jobgate can learn the environment's name, it refuses every request: " + denied[0]
		f.Do = "run the job in an environment, or on a ref, that the entry names, or widen the entry in the agent's config.yaml"
		return f
	}
	f.State, f.What = OK, expected(configuration.AccessAs, identity)
	return f
}

func unusable(f Finding, err error) Finding {
	f.State, f.What, f.Do = Failure, err.Error(), "mend access_as in the agent's config.yaml"
	var rejected *tokenreview.RejectedError
	if !errors.As(err, &rejected) {
		f.What = "the agent's ci_access entry cannot be used: " + f.What
	}
	return f
}

// identify has jobgate's own code make the identity, from GitLab's answer and from what the variables say of the job. What
// only the cluster's admin knows is assumed to be in the job's favour: that what is impersonated may be, and that GitLab
// itself withholds agents from unprotected refs.
func (e *examination) identify(c gitlab.Configuration) (user.Info, error) {
	served := job.ServedAgent{ID: e.agentID, FiltersProtectedBranches: true}
	j := job.FromReply(e.gitlab.reply, []job.ServedAgent{served})
	j.Facts.EnvironmentName = e.Variables(cijob.VarEnvironmentName)
	allowed := tokenreview.Allowed{
		Users: []string{c.Impersonate.Username}, UIDs: []string{c.Impersonate.UID}, Groups: c.Impersonate.Groups,
	}
	for _, extra := range c.Impersonate.Extra {
		allowed.ExtraKeys = append(allowed.ExtraKeys, extra.Key)
	}
	return tokenreview.New(nil, tokenreview.Config{
		Agents:                   []tokenreview.Agent{{ID: e.agentID, Impersonate: allowed}},
		FiltersProtectedBranches: true,
	}).Identify(j, e.agentID)
}

// expected says whom the cluster will see.
func expected(mode gitlab.Mode, u user.Info) string {
	switch mode {
	case gitlab.AsCIJob:
		return fmt.Sprintf("access_as ci_job: user %s, groups %s", u.GetName(), strings.Join(u.GetGroups(), ", "))
	case gitlab.AsImpersonated:
		return fmt.Sprintf("access_as impersonate: user %s, groups %s, where the cluster's admin allows it",
			rule.Quote(u.GetName()), rule.List(u.GetGroups()))
	default:
		return fmt.Sprintf("access_as agent: user %s, or the ServiceAccount that the cluster's admin has given the agent", u.GetName())
	}
}
