package tokenreview

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// The names GitLab documents for a CI job's identity ("Impersonate the CI/CD job that accesses the cluster"), and
// jobgate's own for an agent that no ServiceAccount stands for.
const (
	ciJobName        = "gitlab:ci_job:"
	ciJobGroup       = "gitlab:ci_job"
	groupGroup       = "gitlab:group:"
	groupTierGroup   = "gitlab:group_env_tier:"
	projectGroup     = "gitlab:project:"
	projectEnvGroup  = "gitlab:project_env:"
	projectTierGroup = "gitlab:project_env_tier:"
	agentName        = "gitlab:agent:"
	agentGroup       = "gitlab:agent"
)

// identify gives a live job the identity that the agent's configuration asks for, or a denied one, or a
// *RejectedError.
func identify(j *job.Job, p *policy) (user.Info, error) {
	agent := j.Agent(p.ID)
	switch {
	case agent == nil && p.explainRejections:
		return denied(j, &job.Agent{ID: p.ID}, notListed(j, p.ID)), nil
	case agent == nil:
		return nil, reject(ReasonNotListed, p.ID, j, "%s", notListed(j, p.ID))
	case agent.Err != nil:
		return nil, reject(ReasonConfiguration, p.ID, j,
			"the ci_access entry of agent %d for job %d of project %d cannot be used (%v); mend the agent's config.yaml",
			p.ID, j.ID, j.ProjectID, agent.Err)
	}
	if refusal := j.Refusal(agent, p.filtersProtectedBranches); refusal != "" {
		return denied(j, agent, refusal), nil
	}
	info, err := as(j, agent, p)
	if err != nil {
		return nil, err
	}
	// kube-apiserver does not check for an empty name, so an identity without one must never leave.
	if info == nil || info.Name == "" {
		return nil, reject(ReasonConfiguration, p.ID, j,
			"the ci_access entry of agent %d gives job %d no user name; mend the agent's config.yaml", p.ID, j.ID)
	}
	addExtras(info, j, agent)
	p.FactExtras.add(info, j)
	return info, nil
}

func notListed(j *job.Job, agentID int64) string {
	return fmt.Sprintf("GitLab does not let job %d of project %d use agent %d; check ci_access in the agent's config.yaml: "+
		"the project or a group of it, its environments, protected_branches_only, and whether the licence covers access_as",
		j.ID, j.ProjectID, agentID)
}

// as makes the identity of the agent's mode; nil for a mode that is none.
func as(j *job.Job, agent *job.Agent, p *policy) (*user.DefaultInfo, error) {
	switch agent.Configuration.AccessAs {
	case gitlab.AsAgent:
		return asAgent(p), nil
	case gitlab.AsCIJob:
		return asCIJob(j), nil
	case gitlab.AsImpersonated:
		if refused := p.allowed.refusal(&agent.Configuration.Impersonate); refused != "" {
			return nil, reject(ReasonIdentityNotAllowed, p.ID, j,
				"agent %d asks job %d of project %d to impersonate what this cluster does not allow: %s; change access_as in the "+
					"agent's config.yaml, or have the cluster's admin add it to the agent's impersonate list in jobgate's configuration",
				p.ID, j.ID, j.ProjectID, refused)
		}
		return asImpersonated(&agent.Configuration.Impersonate), nil
	}
	return nil, nil
}

// denied is the identity of a live job that may do nothing here. It has no group, so RBAC has nothing to grant it, and
// carries the reason to where kubectl shows it.
func denied(j *job.Job, agent *job.Agent, reason string) *user.DefaultInfo {
	info := &user.DefaultInfo{Name: ciJobName + decimal(j.ID)}
	addExtras(info, j, agent)
	info.Extra[extras.Denied] = []string{reason}
	return info
}

func asAgent(p *policy) *user.DefaultInfo {
	if p.ServiceAccountName == "" {
		return &user.DefaultInfo{Name: agentName + decimal(p.ID), Groups: []string{agentGroup}}
	}
	return &user.DefaultInfo{
		Name:   serviceaccount.MakeUsername(p.ServiceAccountNamespace, p.ServiceAccountName),
		Groups: serviceaccount.MakeGroupNames(p.ServiceAccountNamespace),
	}
}

func asCIJob(j *job.Job) *user.DefaultInfo {
	project, env := decimal(j.ProjectID), j.Environment
	groups := make([]string, 0, 4+2*len(j.GroupIDs))
	groups = append(groups, ciJobGroup)
	for _, id := range j.GroupIDs {
		group := decimal(id)
		groups = append(groups, groupGroup+group)
		if env != nil {
			groups = append(groups, groupTierGroup+group+":"+env.Tier)
		}
	}
	groups = append(groups, projectGroup+project)
	if env != nil {
		groups = append(groups, projectEnvGroup+project+":"+env.Slug, projectTierGroup+project+":"+env.Tier)
	}
	return &user.DefaultInfo{Name: ciJobName + decimal(j.ID), Groups: groups}
}

// asImpersonated copies the identity as given. Extra keys become lower case and the last of equal ones wins, which is
// what became of them on their way through agentk's impersonation headers.
func asImpersonated(i *gitlab.Impersonate) *user.DefaultInfo {
	info := &user.DefaultInfo{Name: i.Username, UID: i.UID, Groups: i.Groups}
	if len(i.Extra) > 0 {
		info.Extra = make(map[string][]string, len(i.Extra)+8)
		for _, e := range i.Extra {
			info.Extra[strings.ToLower(e.Key)] = e.Values
		}
	}
	return info
}

func addExtras(info *user.DefaultInfo, j *job.Job, a *job.Agent) {
	if info.Extra == nil {
		info.Extra = make(map[string][]string, 8)
	}
	set := func(key, value string) { info.Extra[key] = []string{value} }
	set(extras.Agent, decimal(a.ID))
	if a.ConfigProjectID != 0 { // of an agent that does not list the job it is not known
		set(extras.ConfigProject, decimal(a.ConfigProjectID))
	}
	set(extras.Project, decimal(j.ProjectID))
	set(extras.Pipeline, decimal(j.PipelineID))
	set(extras.Job, decimal(j.ID))
	set(extras.Username, j.Username)
	if j.Environment != nil {
		set(extras.Slug, j.Environment.Slug)
		set(extras.Tier, j.Environment.Tier)
	}
}

func decimal(id int64) string { return strconv.FormatInt(id, 10) }
