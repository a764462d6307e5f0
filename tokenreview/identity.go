package tokenreview

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// The names that GitLab documents for a CI job's identity ("Impersonate the CI/CD job that accesses the cluster"), and
// jobgate's own for an agent without a ServiceAccount.
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

// identify gives a live job its identity, or a denied one, or a *RejectedError.
func (c *config) identify(j *job.Job, v via) (*user.DefaultInfo, error) {
	if reason := c.Policy.Blocked.Reason(j); reason != "" {
		return nil, reject(ReasonBlocked, v, j, "%s; ask the cluster's admin", reason)
	}
	if v.agentID == 0 {
		return c.byGrant(j, v)
	}
	return c.byAgent(j, v)
}

// byGrant identifies a job that uses no agent.
func (c *config) byGrant(j *job.Job, v via) (*user.DefaultInfo, error) {
	id := extras.Identity{Job: *j, Cluster: v.cluster}
	admission := c.Policy.Admit(j)
	if admission.Grant == "" {
		reason := fmt.Sprintf("the cluster %s does not admit %s: %s", v.cluster, describe(j), admission.Reason)
		if !admission.Named && !c.ExplainRejections {
			return nil, reject(ReasonNoGrant, v, j, "%s; ask the cluster's admin for a grant", reason)
		}
		return denied(&id, reason), nil
	}
	id.Grant = admission.Grant
	info := asCIJob(j)
	info.Extra = map[string][]string{}
	id.Encode(info.Extra, c.Policy.ExtrasForGrants())
	return info, nil
}

// byAgent identifies a job by an agent, as the agent's authors ask.
func (c *config) byAgent(j *job.Job, v via) (*user.DefaultInfo, error) {
	listed := j.Agent(v.agentID)
	id := extras.Identity{Job: *j, AgentID: v.agentID}
	switch {
	case listed == nil && c.ExplainRejections:
		return denied(&id, notListed(j, v)), nil
	case listed == nil:
		return nil, reject(ReasonNotListed, v, j, "%s", notListed(j, v))
	case listed.Err != nil:
		return nil, reject(ReasonConfiguration, v, j,
			"the ci_access entry of %s for %s cannot be used (%v); fix the agent's config.yaml", v.name, describe(j), listed.Err)
	}
	id.ConfigProjectID = listed.ConfigProjectID
	access := c.Policy.CIAccess(listed)
	if refusal := access.Refusal(j); refusal != "" {
		return denied(&id, fmt.Sprintf("the ci_access entry of %s does not admit %s: %s", v.name, describe(j), refusal)), nil
	}
	info, err := c.as(j, listed, v)
	if err != nil {
		return nil, err
	}
	// kube-apiserver does not check for an empty name, so an identity without one must never leave.
	if info == nil || info.Name == "" {
		return nil, reject(ReasonConfiguration, v, j,
			"the ci_access entry of %s gives %s no user name; fix the agent's config.yaml", v.name, describe(j))
	}
	if info.Extra == nil {
		info.Extra = make(map[string][]string, 8)
	}
	id.Encode(info.Extra, c.Policy.ExtrasForAgent(v.agentID))
	return info, nil
}

func notListed(j *job.Job, v via) string {
	return fmt.Sprintf("GitLab does not let %s use %s; check ci_access in the agent's config.yaml: the project or a group of it, "+
		"its environments, protected_branches_only, and whether the licence covers access_as", describe(j), v.name)
}

// as makes the identity of the agent's mode; nil for a mode that is none.
func (c *config) as(j *job.Job, listed *job.Agent, v via) (*user.DefaultInfo, error) {
	own := c.agents[v.agentID]
	switch listed.Configuration.AccessAs {
	case job.AsAgent:
		return asAgent(own), nil
	case job.AsCIJob:
		return asCIJob(j), nil
	case job.AsImpersonated:
		if refused := own.impersonation.Refusal(&listed.Configuration.Impersonate); refused != "" {
			return nil, reject(ReasonIdentityNotAllowed, v, j,
				"%s asks %s to impersonate what this cluster does not allow: %s; change access_as in the agent's config.yaml, or ask the "+
					"cluster's admin to add it to the agent's impersonate list in jobgate's configuration", v.name, describe(j), refused)
		}
		return asImpersonated(&listed.Configuration.Impersonate), nil
	}
	return nil, nil
}

// maxReason bounds the reason of a denied identity, in characters: an extra is read back up to 4096 bytes.
const maxReason = 1000

// denied is the identity of a live job that may do nothing here. It has no group from jobgate, so RBAC has nothing to grant
// it, and carries the reason to where kubectl shows it.
func denied(id *extras.Identity, reason string) *user.DefaultInfo {
	id.Denied, id.IsDenied = policy.Printable(reason, maxReason), true
	info := &user.DefaultInfo{Name: ciJobName + decimal(id.Job.ID), Extra: make(map[string][]string, 8)}
	id.Encode(info.Extra, 0)
	return info
}

func asAgent(a *agent) *user.DefaultInfo {
	if a.ServiceAccountName == "" {
		return &user.DefaultInfo{Name: agentName + decimal(a.ID), Groups: []string{agentGroup}}
	}
	return &user.DefaultInfo{
		Name:   serviceaccount.MakeUsername(a.ServiceAccountNamespace, a.ServiceAccountName),
		Groups: serviceaccount.MakeGroupNames(a.ServiceAccountNamespace),
	}
}

func asCIJob(j *job.Job) *user.DefaultInfo {
	project, env := decimal(j.ProjectID), &j.Environment
	groups := make([]string, 0, 4+2*len(j.Groups.Value))
	groups = append(groups, ciJobGroup)
	for _, id := range j.Groups.Value {
		group := decimal(id)
		groups = append(groups, groupGroup+group)
		if env.Exists() {
			groups = append(groups, groupTierGroup+group+":"+env.Tier)
		}
	}
	groups = append(groups, projectGroup+project)
	if env.Exists() {
		groups = append(groups, projectEnvGroup+project+":"+env.Slug, projectTierGroup+project+":"+env.Tier)
	}
	return &user.DefaultInfo{Name: ciJobName + decimal(j.ID), Groups: groups}
}

// asImpersonated copies the identity as given. Extra keys become lower-case and the last of equal ones wins, which is
// what became of them on their way through agentk's impersonation headers.
func asImpersonated(i *job.Impersonate) *user.DefaultInfo {
	info := &user.DefaultInfo{Name: i.Username, UID: i.UID, Groups: i.Groups}
	if len(i.Extra) > 0 {
		info.Extra = make(map[string][]string, len(i.Extra)+8)
		for _, e := range i.Extra {
			info.Extra[strings.ToLower(e.Key)] = e.Values
		}
	}
	return info
}

func decimal(id int64) string { return strconv.FormatInt(id, 10) }
