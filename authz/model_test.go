package authz_test

import (
	"errors"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// model judges a request as the design tells it, sentence by sentence, without regard to cost. It shares no code with the
// package: patterns are regular expressions here, and numbers are big.
type model struct {
	rules policy.Rules
	jobs  registry
}

// ruling is what the model decides: the rule that denies, the name of the restriction where it is one, and the restrictions
// in report mode that would have denied.
type ruling struct {
	rule        authz.Rule
	restriction string
	reported    []string
}

// identity is what the model reads of a request's extras and of the known job: the same as the package's, in another form.
type identity struct {
	agent, project         int64
	slug, tier, name       string
	nameRefused            bool
	ref, refType, source   string
	isMergeRequest         bool
	isProtected, isGuarded bool // the ref, the environment
	groups                 []int64
	roles                  []string
	job, user              int64
	entry                  *job.Configuration // nil: not known, or no agent
}

func (m model) judge(attrs authorizer.AttributesRecord) ruling {
	x := attrs.User.GetExtra()
	if x[jobKey] == nil && !slices.Contains(keys(x), jobKey) {
		return ruling{}
	}
	if !attrs.ResourceRequest && attrs.Verb == "get" && regexp.MustCompile(`^/(api|apis|openapi|version)(/|$)`).MatchString(attrs.Path) {
		return ruling{}
	}
	if !wellFormed(x) {
		return ruling{rule: authz.RuleMalformed}
	}
	agent := number(first(x[agentKey]))
	isOurs := slices.ContainsFunc(m.rules.Agents, func(a policy.Agent) bool { return a.ID == agent })
	if agent == 0 {
		isOurs = first(x[clusterKey]) == m.rules.Cluster
	}
	if !isOurs {
		return ruling{rule: authz.RuleUnknownAgent}
	}
	if x[deniedKey] != nil {
		return ruling{rule: authz.RuleDeniedLogin}
	}
	known := m.jobs.job
	if number(x[jobKey][0]) != jobID || errors.Is(m.jobs.err, job.ErrUnknown) {
		known = nil
	}
	var rejected *job.RejectedError
	switch {
	case errors.As(m.jobs.err, &rejected):
		return ruling{rule: authz.RuleEnded}
	case m.jobs.err != nil && !errors.Is(m.jobs.err, job.ErrUnknown):
		return ruling{rule: authz.RuleUnconfirmed}
	}
	if known != nil {
		if rule := judgeKnown(known, agent, x); rule != noOpinion {
			return ruling{rule: rule}
		}
	}
	id := identify(agent, x, known)
	if rule := m.judgePermission(id); rule != noOpinion {
		return ruling{rule: rule}
	}
	return m.judgeRestrictions(attrs, id)
}

func keys(x map[string][]string) (all []string) {
	for k := range x {
		all = append(all, k)
	}
	return all
}

var (
	idForm    = regexp.MustCompile(`^[1-9][0-9]*$`)
	labelForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	forms     = map[string]*regexp.Regexp{
		slugKey: labelForm, tierKey: labelForm, clusterKey: labelForm, deniedKey: regexp.MustCompile(`(?s)^.*$`),
		protectedKey: regexp.MustCompile(`^(true|false)$`), guardedKey: regexp.MustCompile(`^(true|false)$`),
		refTypeKey: regexp.MustCompile(`^(branch|tag)$`),
	}
)

func number(text string) int64 {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !idForm.MatchString(text) || !n.IsInt64() {
		return 0
	}
	return n.Int64()
}

func wellFormed(x map[string][]string) bool {
	for key, values := range x {
		isNumber := strings.HasPrefix(key, "agent.gitlab.com/") && strings.HasSuffix(key, "id") || key == groupKey || key == userKey
		isList := key == groupKey || key == roleKey
		if !strings.HasPrefix(key, "agent.gitlab.com/") && !strings.HasPrefix(key, "jobgate.io/") {
			continue
		}
		if !isList && len(values) != 1 || len(values) > 64 {
			return false
		}
		for _, v := range values {
			form := forms[key]
			switch {
			case len(v) > 4096, isNumber && number(v) == 0, form == labelForm && len(v) > 63, form != nil && !form.MatchString(v):
				return false
			case form == nil && v == "":
				return false
			}
		}
	}
	has := func(key string) bool { return x[key] != nil }
	if jti, ofIDToken := strings.CutPrefix(first(x[credentialKey]), "JTI="); has(agentKey) && ofIDToken && jti != "" {
		return false
	}
	return has(jobKey) && has(projectKey) && has(agentKey) != has(clusterKey) && (!has(grantKey) || has(clusterKey) && !has(deniedKey)) &&
		(has(slugKey) || has(nameKey) && isOfAPIServer(x)) == has(tierKey) && (!has(nameKey) || has(tierKey))
}

// isOfAPIServer says that kube-apiserver has made the identity of an ID token, which leaves slugs out that it cannot make.
func isOfAPIServer(x map[string][]string) bool {
	return x[clusterKey] != nil && x[grantKey] == nil && x[deniedKey] == nil
}

func slugOf(x map[string][]string) string {
	if x[slugKey] == nil && x[nameKey] != nil && isOfAPIServer(x) {
		return job.Slug(x[nameKey][0])
	}
	return first(x[slugKey])
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func judgeKnown(j *job.Job, agent int64, x map[string][]string) authz.Rule {
	contradicts := func(known int64, key string) bool { return x[key] != nil && number(x[key][0]) != known }
	if agent != 0 {
		at := slices.IndexFunc(j.Agents, func(a job.Agent) bool { return a.ID == agent })
		if at < 0 {
			return authz.RuleNotListed
		}
		if j.Agents[at].Err != nil {
			return authz.RuleConfiguration
		}
		if contradicts(j.Agents[at].ConfigProjectID, configKey) {
			return authz.RuleContradiction
		}
	}
	differ := func(known, key string) bool { return known != "" && x[key] != nil && x[key][0] != known }
	if contradicts(j.ProjectID, projectKey) || contradicts(j.PipelineID, pipelineKey) ||
		j.Environment.Slug != slugOf(x) || j.Environment.Tier != first(x[tierKey]) ||
		differ(j.Environment.Name.Value, nameKey) || differ(j.Ref.Name, refKey) {
		return authz.RuleContradiction
	}
	return noOpinion
}

// identify takes the extras, and puts what is known of the job in the place of what they say; but of protections the worse
// counts, and a merge request's pipeline is one as soon as either says so.
func identify(agent int64, x map[string][]string, j *job.Job) identity {
	id := identity{
		agent: agent, project: number(x[projectKey][0]), job: number(x[jobKey][0]), user: number(first(x[userKey])),
		slug: slugOf(x), tier: first(x[tierKey]), name: first(x[nameKey]), isGuarded: first(x[guardedKey]) == "true",
		ref: first(x[refKey]), refType: first(x[refTypeKey]), source: first(x[sourceKey]), roles: x[roleKey],
	}
	for _, g := range x[groupKey] {
		id.groups = append(id.groups, number(g))
	}
	id.isMergeRequest = id.source == "merge_request_event" || strings.HasPrefix(id.ref, "refs/merge-requests/")
	protections := []string{first(x[protectedKey])}
	if j != nil {
		id.user = j.UserID
		if j.Groups.Known {
			id.groups = j.Groups.Value
		}
		if j.Roles.Known {
			id.roles = j.Roles.Value
		}
		if j.Environment.Name.Known {
			id.name = j.Environment.Name.Value
		}
		id.nameRefused = id.name == "" && j.Environment.Name.Refused
		if j.Environment.Protected.Known {
			id.isGuarded = j.Environment.Protected.Value
		}
		if j.Ref.Name != "" {
			id.ref = j.Ref.Name
		}
		if j.Ref.Type != "" {
			id.refType = string(j.Ref.Type)
		}
		if j.PipelineSource.Known {
			id.source = j.PipelineSource.Value
		}
		id.isMergeRequest = id.isMergeRequest || j.Ref.MergeRequest
		protections = append(protections, map[job.Protection]string{job.Protected: "true", job.Unprotected: "false"}[j.Ref.Protection])
		for _, a := range j.Agents {
			if a.ID == agent {
				id.entry = a.Configuration
			}
		}
	}
	id.isProtected = slices.Contains(protections, "true") && !slices.Contains(protections, "false") && !id.isMergeRequest
	return id
}

func overlap[T comparable](a, b []T) bool {
	return slices.ContainsFunc(a, func(item T) bool { return slices.Contains(b, item) })
}

func (m model) judgePermission(id identity) authz.Rule {
	b := m.rules.Blocked
	if slices.Contains(b.Jobs, id.job) || slices.Contains(b.Projects, id.project) || slices.Contains(b.Users, id.user) || overlap(b.Groups, id.groups) {
		return authz.RuleBlocked
	}
	if id.agent == 0 {
		for _, g := range m.rules.Grants {
			if (slices.Contains(g.Projects, id.project) || overlap(g.Groups, id.groups)) && meets(g.Require, id) {
				return noOpinion
			}
		}
		return authz.RuleNoGrant
	}
	if id.entry == nil {
		return noOpinion
	}
	list := id.entry.Environments
	if len(list) > 0 && id.slug == "" {
		return authz.RuleCIAccess
	}
	if strings.Contains(strings.Join(list, ""), "*") && !isNamed(list, id) && !id.nameRefused {
		return authz.RuleCIAccess
	}
	if id.entry.ProtectedBranchesOnly && !m.rules.FiltersProtectedBranches && !id.isProtected {
		return authz.RuleCIAccess
	}
	return noOpinion
}

// isNamed says whether the environment's name is proven to match. Nothing but stars needs no name.
func isNamed(patterns []string, id identity) bool {
	isAny := func(p string) bool { return regexp.MustCompile(`^\*+$`).MatchString(p) }
	return id.slug != "" && (slices.ContainsFunc(patterns, isAny) || anyMatches(patterns, id.name))
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

// judgeRestrictions asks them in order. One that is not met denies what it matches, and, whatever it filters by besides the
// agent, every impersonation.
func (m model) judgeRestrictions(a authorizer.AttributesRecord, id identity) ruling {
	isImpersonation := regexp.MustCompile(`^impersonate($|:|-on:)`).MatchString(a.Verb)
	var result ruling
	for _, r := range m.rules.Restrictions {
		isForAgent := len(r.Agents) == 0 || slices.Contains(r.Agents, id.agent)
		if meets(r.Require, id) || !isForAgent || !isImpersonation && !matchesRequest(r, a) {
			continue
		}
		if r.Mode == policy.Report {
			result.reported = append(result.reported, r.Name)
			continue
		}
		result.rule, result.restriction = authz.RuleRestriction, r.Name
		if isImpersonation {
			result.rule = authz.RuleImpersonation
		}
		return result
	}
	return result
}

func matchesRequest(r policy.Restriction, a authorizer.AttributesRecord) bool {
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
	isAboutResources := len(r.Namespaces) > 0 || len(r.APIGroups) > 0 || len(r.Resources) > 0
	return (a.ResourceRequest || !isAboutResources) &&
		(len(r.Namespaces) == 0 || anyMatches(r.Namespaces, a.Namespace)) &&
		among(r.Verbs, a.Verb) && among(r.APIGroups, a.APIGroup) && among(r.Resources, resources...)
}

func meets(r policy.Requirements, id identity) bool {
	return (len(r.Environments) == 0 || isNamed(r.Environments, id)) &&
		(len(r.EnvironmentTiers) == 0 || slices.Contains(r.EnvironmentTiers, id.tier)) &&
		(!bool(r.EnvironmentProtected) || id.isGuarded && id.slug != "") &&
		(!bool(r.ProtectedRef) || id.isProtected) &&
		(len(r.Refs) == 0 || anyMatches(r.Refs, id.ref) && !id.isMergeRequest) &&
		(len(r.RefTypes) == 0 || slices.Contains(r.RefTypes, id.refType)) &&
		(len(r.PipelineSources) == 0 || slices.Contains(r.PipelineSources, id.source)) &&
		(len(r.Projects) == 0 || slices.Contains(r.Projects, id.project)) &&
		(len(r.Groups) == 0 || overlap(id.groups, r.Groups)) &&
		(len(r.Roles) == 0 || overlap(id.roles, r.Roles))
}
