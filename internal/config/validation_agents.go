package config

import (
	"regexp"
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/policy"
)

// agentName is the project that configures the agent, and the agent.
var agentName = regexp.MustCompile(`^[^:\s]+:[^:\s]+$`)

func validateAgents(agents []Agent, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	ids := sets.New[int64]()
	for i, agent := range agents {
		item := path.Index(i)
		if ids.Has(agent.ID) {
			errs = append(errs, field.Duplicate(item.Child("id"), agent.ID))
		}
		ids.Insert(agent.ID)
		errs = append(errs, agent.validate(item)...)
	}
	return errs
}

func (a *Agent) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if a.Name != "" && !agentName.MatchString(a.Name) {
		errs = append(errs, field.Invalid(path.Child("name"), a.Name, "must be as in path/to/project:agent-name"))
	}
	errs = append(errs, a.ServiceAccount.validate(path.Child("serviceAccount"))...)
	return append(errs, a.Impersonate.Validate(path.Child("impersonate"))...)
}

func (s *ServiceAccount) validate(path *field.Path) field.ErrorList {
	if *s == (ServiceAccount{}) {
		return nil
	}
	var errs field.ErrorList
	for _, part := range []struct {
		path    *field.Path
		value   string
		mistake func(string) []string
	}{
		// As k8s.io/apimachinery's pkg/api/validation has it for namespaces and for service accounts.
		{path.Child("namespace"), s.Namespace, validation.IsDNS1123Label},
		{path.Child("name"), s.Name, validation.IsDNS1123Subdomain},
	} {
		if part.value == "" {
			errs = append(errs, field.Required(part.path, "must have both a namespace and a name, or neither"))
			continue
		}
		for _, message := range part.mistake(part.value) {
			errs = append(errs, field.Invalid(part.path, part.value, message))
		}
	}
	return errs
}

// validateRestrictions adds to each restriction's own validation what concerns the others and the agents.
func validateRestrictions(restrictions []policy.Restriction, agents []Agent, path *field.Path) field.ErrorList {
	configured := sets.New[int64]()
	for _, agent := range agents {
		configured.Insert(agent.ID)
	}
	// An agent whose id is no id, or could not be decoded, may be the one that a restriction means.
	idsKnown := !slices.ContainsFunc(agents, func(a Agent) bool { return a.ID < 1 })
	var errs field.ErrorList
	names := sets.New[string]()
	for i, restriction := range restrictions {
		item := path.Index(i)
		if names.Has(restriction.Name) {
			errs = append(errs, field.Duplicate(item.Child("name"), restriction.Name))
		}
		names.Insert(restriction.Name)
		for k, id := range restriction.Agents {
			if idsKnown && !configured.Has(id) {
				errs = append(errs, field.Invalid(item.Child("agents").Index(k), id, "must be the id of a configured agent"))
			}
		}
		errs = append(errs, restriction.Validate(item)...)
	}
	return errs
}
