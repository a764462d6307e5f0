package authz

import (
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/internal/rule"
)

// Restriction denies the requests that match all its filters unless the job meets all its requirements. A filter that
// is empty matches every request.
type Restriction struct {
	// Name is unique and part of the reason of a denial.
	Name string
	// Agents are ids of agents.
	Agents []int64
	// Namespaces are patterns, as package rule reads them. A request without a namespace matches only where there are
	// none: a cluster-scoped one, one across all namespaces, and a non-resource one.
	Namespaces []string
	// Verbs, APIGroups and Resources read as in a rule of RBAC: "*" is everything, "" the core group, a subresource has to
	// be named as deployments/scale or */scale. A non-resource request matches where there are no Namespaces, APIGroups
	// and Resources; a "*" counts as one.
	Verbs     []string
	APIGroups []string
	Resources []string
	// Require holds at least one requirement.
	Require Requirements
}

// everything is RBAC's word for any verb, group or resource.
const everything = "*"

// restriction is a Restriction, compiled. A list that is empty filters nothing.
type restriction struct {
	name          string
	agents        []int64
	resourcesOnly bool // filters by namespace, group or resource
	namespaces    []rule.Pattern
	verbs         []string
	apiGroups     []string
	resources     []string
	require       requirements
}

// request is what a restriction looks at of the attributes, read once.
type request struct {
	verb, namespace, apiGroup, resource, subresource string
	isResource                                       bool
}

func requestOf(attrs authorizer.Attributes) request {
	return request{
		verb:        attrs.GetVerb(),
		namespace:   attrs.GetNamespace(),
		apiGroup:    attrs.GetAPIGroup(),
		resource:    attrs.GetResource(),
		subresource: attrs.GetSubresource(),
		isResource:  attrs.IsResourceRequest(),
	}
}

func (c *inquiry) judgeRestriction(r *restriction) *Denial {
	if !r.matches(&c.request, c.claims.agent) || r.require.met(c) {
		return nil
	}
	return deny(RuleRestriction, "restriction %s does not let %s (%s) do this: %s",
		rule.Quote(r.name), c.who(), c.policy.label(c.claims.agent), r.require.unmet(c))
}

// appliesTo looks at the agent alone.
func (r *restriction) appliesTo(agent int64) bool {
	return len(r.agents) == 0 || slices.Contains(r.agents, agent)
}

func (r *restriction) matches(q *request, agent int64) bool {
	if !r.appliesTo(agent) || (len(r.verbs) > 0 && !slices.Contains(r.verbs, q.verb)) {
		return false
	}
	if !r.resourcesOnly {
		return true
	}
	return q.isResource &&
		(len(r.namespaces) == 0 || rule.MatchAny(r.namespaces, q.namespace)) &&
		(len(r.apiGroups) == 0 || slices.Contains(r.apiGroups, q.apiGroup)) &&
		(len(r.resources) == 0 || q.isAmong(r.resources))
}

// isAmong is RBAC's match of resources but for "*" (kubernetes pkg/apis/rbac/v1, evaluation_helpers.go): a subresource is
// matched by its own entry, or by */ and its name, and never by its resource's entry.
func (q *request) isAmong(resources []string) bool {
	for _, entry := range resources {
		if q.subresource == "" {
			if entry == q.resource {
				return true
			}
			continue
		}
		resource, found := strings.CutSuffix(entry, q.subresource)
		resource, isSubresource := strings.CutSuffix(resource, "/")
		if found && isSubresource && (resource == q.resource || resource == everything) {
			return true
		}
	}
	return false
}

// isImpersonation says whether the verb asks to act as somebody else: impersonate itself, and what it is called where
// impersonation is constrained (KEP-5284, on by default from Kubernetes 1.36): impersonate:<mode> for the identity and
// impersonate-on:<mode>:<verb> for the request.
func (q *request) isImpersonation() bool {
	rest, found := strings.CutPrefix(q.verb, "impersonate")
	return found && (rest == "" || strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "-on:"))
}

// judgeImpersonation keeps a job from walking around restrictions: what it would become carries no extras of the job, so
// nothing would be restricted any more. A restriction that is about resources stands in the way of every impersonation by
// jobs of its agents, whatever namespaces and resources it names, as any of them could be reached.
func (c *inquiry) judgeImpersonation() *Denial {
	if !c.request.isImpersonation() {
		return nil
	}
	for i := range c.policy.restrictions {
		if r := &c.policy.restrictions[i]; r.resourcesOnly && r.appliesTo(c.claims.agent) {
			return deny(RuleImpersonation, "%s (%s) may not impersonate, because that would walk around restriction %s; run the "+
				"command without --as, or use an agent without such a restriction",
				c.who(), c.policy.label(c.claims.agent), rule.Quote(r.name))
		}
	}
	return nil
}
