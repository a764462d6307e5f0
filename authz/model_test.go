package authz_test

import (
	"errors"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// model judges a request as the design tells it, sentence by sentence, without a thought for cost. It shares no code with
// the package: patterns are regular expressions here, and numbers are big.
type model struct {
	policy authz.Policy
	jobs   registry
}

// judge returns the rule that denies, and, where it is about a restriction, that one's name.
func (m model) judge(attrs authorizer.AttributesRecord) (authz.Rule, string) {
	x := attrs.User.GetExtra()
	if _, isJob := x["agent.gitlab.com/ci_job_id"]; !isJob {
		return noOpinion, ""
	}
	if !wellFormed(x) {
		return authz.RuleMalformed, ""
	}
	agent := number(x["agent.gitlab.com/id"][0])
	if !slices.Contains(m.policy.Agents, agent) {
		return authz.RuleUnknownAgent, ""
	}
	if _, isDenied := x[deniedKey]; isDenied {
		return authz.RuleDeniedLogin, ""
	}
	var rejected *gitlab.RejectedError
	known := m.jobs.job
	if number(x["agent.gitlab.com/ci_job_id"][0]) != jobID {
		known = nil
	}
	switch {
	case errors.As(m.jobs.err, &rejected):
		return authz.RuleEnded, ""
	case errors.Is(m.jobs.err, job.ErrUnknown):
		known = nil
	case m.jobs.err != nil:
		return authz.RuleUnconfirmed, ""
	}
	if known != nil {
		if rule := m.judgeKnown(known, agent, x); rule != noOpinion {
			return rule, ""
		}
	}
	return m.judgeRestrictions(attrs, agent, known, x)
}

var (
	idForm    = regexp.MustCompile(`^[1-9][0-9]*$`)
	labelForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	slugForm  = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
)

func number(text string) int64 {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !idForm.MatchString(text) || !n.IsInt64() {
		return 0
	}
	return n.Int64()
}

func wellFormed(x map[string][]string) bool {
	for _, key := range []string{"id", "ci_job_id", "project_id"} {
		if len(x["agent.gitlab.com/"+key]) == 0 {
			return false
		}
	}
	for key, values := range x {
		short, isAgents := strings.CutPrefix(key, "agent.gitlab.com/")
		isList := key == groupKey || key == roleKey
		if !isAgents && !strings.HasPrefix(key, "jobgate.io/") {
			continue
		}
		if !isList && len(values) != 1 || len(values) > 64 {
			return false
		}
		for _, v := range values {
			ok := len(v) <= 4096 && (v != "" || key == deniedKey)
			switch {
			case isAgents && strings.HasSuffix(short, "id"), key == groupKey:
				ok = number(v) > 0
			case key == slugKey, key == tierKey:
				ok = len(v) <= 63 && labelForm.MatchString(v)
			case key == protectedKey:
				ok = v == "true" || v == "false"
			}
			if !ok {
				return false
			}
		}
	}
	return (x[slugKey] == nil) == (x[tierKey] == nil) && (x[nameKey] == nil || x[slugKey] != nil)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (m model) judgeKnown(j *job.Job, agent int64, x map[string][]string) authz.Rule {
	at := slices.IndexFunc(j.Agents, func(a job.Agent) bool { return a.ID == agent })
	if at < 0 {
		return authz.RuleNotListed
	}
	entry := j.Agents[at]
	if entry.Err != nil {
		return authz.RuleConfiguration
	}
	environment := gitlab.Environment{}
	if j.Environment != nil {
		environment = *j.Environment
	}
	contradicts := func(known int64, key string) bool { return x[key] != nil && number(x[key][0]) != known }
	differ := func(known, key string) bool { return known != "" && x[key] != nil && x[key][0] != known }
	if contradicts(j.ProjectID, "agent.gitlab.com/project_id") || contradicts(j.PipelineID, "agent.gitlab.com/ci_pipeline_id") ||
		contradicts(entry.ConfigProjectID, "agent.gitlab.com/config_project_id") ||
		environment.Slug != first(x[slugKey]) || environment.Tier != first(x[tierKey]) ||
		differ(j.Facts.EnvironmentName, nameKey) || differ(j.Facts.Ref, refKey) {
		return authz.RuleContradiction
	}
	list := entry.Configuration.Environments
	if len(list) > 0 && environment.Slug == "" {
		return authz.RuleCIAccess
	}
	name := fullName(j, x)
	if name != "" && strings.Contains(strings.Join(list, ""), "*") && !anyMatches(list, name) {
		return authz.RuleCIAccess
	}
	if entry.Configuration.ProtectedBranchesOnly && !m.policy.FiltersProtectedBranches && !isProtected(j, x) {
		return authz.RuleCIAccess
	}
	return noOpinion
}

func fullName(j *job.Job, x map[string][]string) string {
	if j != nil && j.Facts.EnvironmentName != "" {
		return j.Facts.EnvironmentName
	}
	return first(x[nameKey])
}

func isProtected(j *job.Job, x map[string][]string) bool {
	says := []string{first(x[protectedKey])}
	if j != nil {
		says = append(says, map[job.Protection]string{job.Protected: "true", job.Unprotected: "false"}[j.Facts.RefProtected])
	}
	return slices.Contains(says, "true") && !slices.Contains(says, "false")
}

func anyMatches(patterns []string, name string) bool {
	return name != "" && slices.ContainsFunc(patterns, func(pattern string) bool {
		if strings.TrimSpace(pattern) == "" {
			return false
		}
		expression := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
		return regexp.MustCompile(`(?s)\A` + expression + `\z`).MatchString(name)
	})
}

func (m model) judgeRestrictions(a authorizer.AttributesRecord, agent int64, j *job.Job, x map[string][]string) (authz.Rule, string) {
	for _, r := range m.policy.Restrictions {
		isImpersonation := regexp.MustCompile(`^impersonate($|:|-on:)`).MatchString(a.Verb)
		if isImpersonation && aboutResources(r) && (len(r.Agents) == 0 || slices.Contains(r.Agents, agent)) {
			return authz.RuleImpersonation, r.Name
		}
	}
	for _, r := range m.policy.Restrictions {
		if matchesRequest(r, a, agent) && !meets(r.Require, j, x) {
			return authz.RuleRestriction, r.Name
		}
	}
	return noOpinion, ""
}

func aboutResources(r authz.Restriction) bool {
	return len(r.Namespaces) > 0 || len(r.APIGroups) > 0 || len(r.Resources) > 0
}

func matchesRequest(r authz.Restriction, a authorizer.AttributesRecord, agent int64) bool {
	combined := a.Resource
	if a.Subresource != "" {
		combined += "/" + a.Subresource
	}
	among := func(list []string, values ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(entry string) bool { return entry == "*" || slices.Contains(values, entry) })
	}
	resources := []string{combined}
	if a.Subresource != "" {
		resources = append(resources, "*/"+a.Subresource)
	}
	return (len(r.Agents) == 0 || slices.Contains(r.Agents, agent)) &&
		(a.ResourceRequest || !aboutResources(r)) &&
		(len(r.Namespaces) == 0 || anyMatches(r.Namespaces, a.Namespace)) &&
		among(r.Verbs, a.Verb) && among(r.APIGroups, a.APIGroup) && among(r.Resources, resources...)
}

func meets(r authz.Requirements, j *job.Job, x map[string][]string) bool {
	slug, name := first(x[slugKey]), fullName(j, x)
	var groups []int64
	for _, g := range x[groupKey] {
		groups = append(groups, number(g))
	}
	roles := x[roleKey]
	if j != nil {
		groups, roles = j.GroupIDs, j.Roles
	}
	isIn := slug != "" && slices.ContainsFunc(r.Environments, func(pattern string) bool {
		if name != "" || strings.Trim(pattern, "*") == "" {
			return anyMatches([]string{pattern}, name+strings.Repeat("x", 1-min(1, len(name))))
		}
		return pattern == slug && slugForm.MatchString(pattern) && len(pattern) <= 24
	})
	overlap := func(a, b []int64) bool {
		return slices.ContainsFunc(a, func(n int64) bool { return slices.Contains(b, n) })
	}
	return (len(r.Environments) == 0 || isIn) &&
		(len(r.EnvironmentTiers) == 0 || slices.Contains(r.EnvironmentTiers, first(x[tierKey]))) &&
		(!r.ProtectedRef || isProtected(j, x)) &&
		(len(r.Projects) == 0 || slices.Contains(r.Projects, number(x["agent.gitlab.com/project_id"][0]))) &&
		(len(r.Groups) == 0 || overlap(groups, r.Groups)) &&
		(len(r.Roles) == 0 || slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(r.Roles, role) }))
}
