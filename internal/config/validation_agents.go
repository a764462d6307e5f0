package config

import (
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// reservedDomains are spoken for: nobody else may say what stands under them, or under a subdomain of one, in a user's
// extra.
var reservedDomains = []string{"agent.gitlab.com", "jobgate.io", "kubernetes.io"}

// environmentTiers are all that GitLab has (app/models/environment.rb).
var environmentTiers = []string{"production", "staging", "testing", "development", "other"}

// agentName is the project that configures the agent, and the agent.
var agentName = regexp.MustCompile(`^[^:\s]+:[^:\s]+$`)

func validateAgents(agents []Agent, path *field.Path) field.ErrorList {
	if len(agents) == 0 {
		return field.ErrorList{field.Required(path, "must have at least one agent")}
	}
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
	return append(errs, a.Impersonate.validate(path.Child("impersonate"))...)
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

func (i *Impersonate) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, list := range []struct {
		name    string
		entries []string
	}{{"users", i.Users}, {"groups", i.Groups}, {"uids", i.UIDs}, {"extraKeys", i.ExtraKeys}} {
		child := path.Child(list.name)
		errs = append(errs, validateNoBlank(list.entries, child)...)
		for index, entry := range list.entries {
			if strings.Contains(strings.TrimSuffix(entry, "*"), "*") {
				errs = append(errs, field.Invalid(child.Index(index), entry, "must have * only at its end"))
			}
		}
	}
	for index, key := range i.ExtraKeys {
		if isReserved(key) {
			detail := "must not be under " + strings.Join(reservedDomains, ", ") + " or a subdomain of one"
			errs = append(errs, field.Invalid(path.Child("extraKeys").Index(index), key, detail))
		}
	}
	return errs
}

// isReserved reads the key as the API server does an impersonated one: in lower case.
func isReserved(key string) bool {
	domain, _, qualified := strings.Cut(strings.ToLower(key), "/")
	return qualified && slices.ContainsFunc(reservedDomains, func(reserved string) bool {
		return domain == reserved || strings.HasSuffix(domain, "."+reserved)
	})
}

func validateRestrictions(restrictions []Restriction, agents []Agent, path *field.Path) field.ErrorList {
	configured := sets.New[int64]()
	for _, agent := range agents {
		configured.Insert(agent.ID)
	}
	// An agent whose id is no id, or could not be decoded, may be the one that a restriction means.
	idsKnown := len(agents) > 0 && !slices.ContainsFunc(agents, func(a Agent) bool { return a.ID < 1 })
	var errs field.ErrorList
	names := sets.New[string]()
	for i, restriction := range restrictions {
		item := path.Index(i)
		switch {
		case strings.TrimSpace(restriction.Name) == "":
			errs = append(errs, field.Required(item.Child("name"), "it is shown to whom the restriction denies"))
		case names.Has(restriction.Name):
			errs = append(errs, field.Duplicate(item.Child("name"), restriction.Name))
		}
		names.Insert(restriction.Name)
		for k, id := range restriction.Agents {
			if idsKnown && !configured.Has(id) {
				errs = append(errs, field.Invalid(item.Child("agents").Index(k), id, "must be the id of a configured agent"))
			}
		}
		errs = append(errs, restriction.validate(item)...)
	}
	return errs
}

func (r *Restriction) validate(path *field.Path) field.ErrorList {
	errs := validateNoBlank(r.Namespaces, path.Child("namespaces"))
	errs = append(errs, validateNoBlank(r.Verbs, path.Child("verbs"))...)
	for i, group := range r.APIGroups {
		if group != "" && strings.TrimSpace(group) == "" {
			errs = append(errs, field.Invalid(path.Child("apiGroups").Index(i), group, `must be "" for the core group`))
		}
	}
	errs = append(errs, validateNoBlank(r.Resources, path.Child("resources"))...)
	return append(errs, r.Require.validate(path.Child("require"))...)
}

func (r *Requirements) validate(path *field.Path) field.ErrorList {
	lists := len(r.Environments) + len(r.EnvironmentTiers) + len(r.Projects) + len(r.Groups) + len(r.Roles)
	if lists == 0 && !r.ProtectedRef {
		return field.ErrorList{field.Required(path, "must have at least one requirement")}
	}
	errs := validateNoBlank(r.Environments, path.Child("environments"))
	for i, tier := range r.EnvironmentTiers {
		if !slices.Contains(environmentTiers, tier) {
			errs = append(errs, field.NotSupported(path.Child("environmentTiers").Index(i), tier, environmentTiers))
		}
	}
	errs = append(errs, validateIDs(r.Projects, path.Child("projects"))...)
	errs = append(errs, validateIDs(r.Groups, path.Child("groups"))...)
	return append(errs, validateNoBlank(r.Roles, path.Child("roles"))...)
}

func validateIDs(ids []int64, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, id := range ids {
		if id < 1 {
			errs = append(errs, field.Invalid(path.Index(i), id, "must be at least 1"))
		}
	}
	return errs
}
