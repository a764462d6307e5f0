package policy

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Restriction denies the requests that match all its filters unless the job meets all its requirements. A filter that is
// empty matches every request.
type Restriction struct {
	Name       string       `json:"name" doc:"Shown to those whom the restriction denies. Each name is used once." example:"production" required:"true"`
	Mode       Mode         `json:"mode" doc:"enforce denies; it is the default. report denies nothing: it logs and counts what it would deny, so that a rule can be tried for a week." enum:"enforce,report" example:"report"`
	Agents     []int64      `json:"agents" doc:"Only for jobs of these agents. Jobs that a grant admits use no agent and never match." example:"[4]"`
	Namespaces []string     `json:"namespaces" doc:"Only for requests in these namespaces; * matches any run of characters. Requests without a namespace match only if there is no such list." example:"[prod, \"prod-*\"]"`
	Verbs      []string     `json:"verbs" doc:"Only for these verbs, as in an RBAC rule." example:"[create, update, patch, delete, deletecollection]"`
	APIGroups  []string     `json:"apiGroups" doc:"Only for these API groups, as in an RBAC rule; the core group is an empty string." example:"[\"\", apps]"`
	Resources  []string     `json:"resources" doc:"Only for these resources, as in an RBAC rule." example:"[deployments, deployments/scale]"`
	Require    Requirements `json:"require" doc:"What must be true of the job: at least one requirement, and all that are given."`
}

// Mode says what a restriction does with a request that it would deny.
type Mode string

// The modes. Enforce is the default.
const (
	Enforce Mode = "enforce"
	Report  Mode = "report"
)

// everything is RBAC's word for any verb, group or resource.
const everything = "*"

// Validate finds what is missing, and what could never match a request. Whether the agents are configured, and the name
// unique, is for the caller to check.
func (r *Restriction) Validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if isBlank(r.Name) {
		errs = append(errs, field.Required(path.Child("name"), "it is shown to those whom the restriction denies"))
	}
	errs = append(errs, validateNamespaces(r.Namespaces, path.Child("namespaces"))...)
	errs = append(errs, validateVerbs(r.Verbs, path.Child("verbs"))...)
	errs = append(errs, validateAPIGroups(r.APIGroups, path.Child("apiGroups"))...)
	errs = append(errs, validateResources(r.Resources, path.Child("resources"))...)
	if r.Require.IsZero() {
		return append(errs, field.Required(path.Child("require"), "must have at least one requirement"))
	}
	return append(errs, r.Require.Validate(path.Child("require"))...)
}

func validateNamespaces(namespaces []string, path *field.Path) field.ErrorList {
	errs := NoBlank(namespaces, path)
	for i, namespace := range namespaces {
		if !isBlank(namespace) && strings.Trim(namespace, "abcdefghijklmnopqrstuvwxyz0123456789-*") != "" {
			errs = append(errs, field.Invalid(path.Index(i), namespace, "must be lower-case letters, digits, dashes and *: no other namespace exists"))
		}
	}
	return errs
}

func validateVerbs(verbs []string, path *field.Path) field.ErrorList {
	errs := NoBlank(verbs, path)
	for i, verb := range verbs {
		if !isBlank(verb) && neverMatches(verb) {
			errs = append(errs, field.Invalid(path.Index(i), verb, "must be one verb in lower case, as in create, or * alone"))
		}
	}
	return errs
}

func validateAPIGroups(groups []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, group := range groups {
		switch {
		case group != "" && isBlank(group):
			errs = append(errs, field.Invalid(path.Index(i), group, `must be "" for the core group`))
		case strings.Contains(group, "/"):
			errs = append(errs, field.Invalid(path.Index(i), group, "must be a group without its version, as in apps"))
		case neverMatches(group):
			errs = append(errs, field.Invalid(path.Index(i), group, "must be one group in lower case, as in apps, or * alone"))
		}
	}
	return errs
}

func validateResources(resources []string, path *field.Path) field.ErrorList {
	errs := NoBlank(resources, path)
	for i, entry := range resources {
		resource, subresource, hasSubresource := strings.Cut(entry, "/")
		switch {
		case isBlank(entry):
		case hasSubresource && (resource == "" || subresource == "" || strings.Contains(subresource, everything)):
			errs = append(errs, field.Invalid(path.Index(i), entry, "must name its subresource, as in pods/exec or */scale: RBAC has no other form"))
		case neverMatches(resource) || neverMatches(subresource):
			errs = append(errs, field.Invalid(path.Index(i), entry, "must be a resource's plural name in lower case, as in deployments, or * alone"))
		}
	}
	return errs
}

// neverMatches says whether no request can have the text as a verb, group or resource. RBAC has no patterns but "*".
func neverMatches(entry string) bool {
	return entry != everything && (entry != strings.ToLower(entry) || strings.ContainsAny(entry, everything+" \t"))
}

// Request is what a restriction looks at of a request to the API server.
type Request struct {
	Verb, Namespace, APIGroup, Resource, Subresource string
	IsResource                                       bool
}

// CompiledRestriction is a Restriction, compiled. It is never changed.
type CompiledRestriction struct {
	Name string
	Mode Mode

	agents        []int64
	resourcesOnly bool // filters by namespace, group or resource
	namespaces    []string
	verbs         []string
	apiGroups     []string
	resources     []string
	require       requirements
}

func compileRestriction(r *Restriction) CompiledRestriction {
	mode := Enforce
	if r.Mode == Report {
		mode = Report
	}
	return CompiledRestriction{
		Name:          r.Name,
		Mode:          mode,
		agents:        slices.Clone(r.Agents),
		resourcesOnly: len(r.Namespaces)+len(r.APIGroups)+len(r.Resources) > 0,
		namespaces:    slices.Clone(r.Namespaces),
		verbs:         filter(r.Verbs),
		apiGroups:     filter(r.APIGroups),
		resources:     filter(r.Resources),
		require:       r.Require.list(),
	}
}

// filter is a list of RBAC, in which "*" is everything; so is an empty filter.
func filter(entries []string) []string {
	if slices.Contains(entries, everything) {
		return nil
	}
	return slices.Clone(entries)
}

// AppliesTo looks at the agent alone; 0 is a job that a grant has admitted.
func (r *CompiledRestriction) AppliesTo(agent int64) bool {
	return len(r.agents) == 0 || slices.Contains(r.agents, agent)
}

// Matches says whether the restriction is about a request of a job that uses the agent; 0 is none.
func (r *CompiledRestriction) Matches(q *Request, agent int64) bool {
	if !r.AppliesTo(agent) || (len(r.verbs) > 0 && !slices.Contains(r.verbs, q.Verb)) {
		return false
	}
	if !r.resourcesOnly {
		return true
	}
	return q.IsResource &&
		(len(r.namespaces) == 0 || MatchAny(r.namespaces, q.Namespace)) &&
		(len(r.apiGroups) == 0 || slices.Contains(r.apiGroups, q.APIGroup)) &&
		(len(r.resources) == 0 || q.isAmong(r.resources))
}

// Met says whether the job meets every requirement.
func (r *CompiledRestriction) Met(j *job.Job) bool { return r.require.met(j) }

// Unmet says what is missing, one clause for each requirement that the job does not meet.
func (r *CompiledRestriction) Unmet(j *job.Job) string { return r.require.unmet(j) }

// isAmong is RBAC's match of resources but for "*" (kubernetes pkg/apis/rbac/v1, evaluation_helpers.go): a subresource is
// matched by its own entry, or by */ and its name, and never by its resource's entry.
func (q *Request) isAmong(resources []string) bool {
	for _, entry := range resources {
		if q.Subresource == "" {
			if entry == q.Resource {
				return true
			}
			continue
		}
		resource, found := strings.CutSuffix(entry, q.Subresource)
		resource, isSubresource := strings.CutSuffix(resource, "/")
		if found && isSubresource && (resource == q.Resource || resource == everything) {
			return true
		}
	}
	return false
}

// IsImpersonation says whether the verb asks to act as another user: impersonate itself, and its constrained forms
// (KEP-5284, on by default from Kubernetes 1.36): impersonate:<mode> for the identity and impersonate-on:<mode>:<verb> for
// the request.
func (q *Request) IsImpersonation() bool {
	rest, found := strings.CutPrefix(q.Verb, "impersonate")
	return found && (rest == "" || strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "-on:"))
}
