package tokenreview

import (
	"strconv"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

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

// The extras GitLab documents. They are on every identity, so that the audit log names the job whatever it acts as.
const (
	extraAgent         = "agent.gitlab.com/id"
	extraConfigProject = "agent.gitlab.com/config_project_id"
	extraProject       = "agent.gitlab.com/project_id"
	extraPipeline      = "agent.gitlab.com/ci_pipeline_id"
	extraJob           = "agent.gitlab.com/ci_job_id"
	extraUsername      = "agent.gitlab.com/username"
	extraSlug          = "agent.gitlab.com/environment_slug"
	extraTier          = "agent.gitlab.com/environment_tier"
)

// identify gives a live job the identity that the agent's configuration asks for, or a *RejectedError.
func identify(j *job.Job, p *policy) (user.Info, error) {
	agent := j.Agent(p.ID)
	if agent == nil {
		return nil, reject(ReasonNotListed, p.ID, j,
			"GitLab does not let job %d of project %d use agent %d; check ci_access in the agent's config.yaml: the project or "+
				"a group of it, its environments, protected_branches_only, and whether the licence covers access_as",
			j.ID, j.ProjectID, p.ID)
	}
	if agent.Err != nil {
		return nil, reject(ReasonConfiguration, p.ID, j,
			"the ci_access entry of agent %d for job %d of project %d cannot be used (%v); mend the agent's config.yaml",
			p.ID, j.ID, j.ProjectID, agent.Err)
	}
	var info *user.DefaultInfo
	switch agent.Configuration.AccessAs {
	case gitlab.AsAgent:
		info = asAgent(p)
	case gitlab.AsCIJob:
		info = asCIJob(j)
	case gitlab.AsImpersonated:
		refused := p.allowed.refusal(&agent.Configuration.Impersonate)
		if refused != "" {
			return nil, reject(ReasonIdentityNotAllowed, p.ID, j,
				"agent %d asks job %d of project %d to impersonate what this cluster does not allow: %s; change access_as in the "+
					"agent's config.yaml, or have the cluster's admin add it to the agent's impersonate list in jobgate's configuration",
				p.ID, j.ID, j.ProjectID, refused)
		}
		info = asImpersonated(&agent.Configuration.Impersonate)
	}
	// kube-apiserver does not check for an empty name, so an identity without one must never leave.
	if info == nil || info.Name == "" {
		return nil, reject(ReasonConfiguration, p.ID, j,
			"the ci_access entry of agent %d gives job %d no user name; mend the agent's config.yaml", p.ID, j.ID)
	}
	addExtras(info, j, agent)
	return info, nil
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
	set(extraAgent, decimal(a.ID))
	set(extraConfigProject, decimal(a.ConfigProjectID))
	set(extraProject, decimal(j.ProjectID))
	set(extraPipeline, decimal(j.PipelineID))
	set(extraJob, decimal(j.ID))
	set(extraUsername, j.Username)
	if j.Environment != nil {
		set(extraSlug, j.Environment.Slug)
		set(extraTier, j.Environment.Tier)
	}
}

func decimal(id int64) string { return strconv.FormatInt(id, 10) }
