package authz

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/internal/rule"
)

// maxName bounds the name of an agent in a message, in characters: it is a project's path and more.
const maxName = 128

// policy is a Policy, compiled. It is never changed.
type policy struct {
	agents                   map[int64]string // the agents of this cluster, by what messages call them
	filtersProtectedBranches bool
	restrictions             []restriction
}

func compile(p Policy) (*policy, error) {
	c := &policy{
		agents:                   make(map[int64]string, len(p.Agents)),
		filtersProtectedBranches: p.FiltersProtectedBranches,
		restrictions:             make([]restriction, 0, len(p.Restrictions)),
	}
	for _, id := range p.Agents {
		c.agents[id] = label(id, p.AgentNames[id])
	}
	names := make(map[string]struct{}, len(p.Restrictions))
	for i := range p.Restrictions {
		r, err := compileRestriction(&p.Restrictions[i])
		if err == nil {
			if _, used := names[r.name]; used {
				err = errors.New("another restriction has the same name")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("restriction %d (%s): %w", i, rule.Quote(p.Restrictions[i].Name), err)
		}
		names[r.name] = struct{}{}
		c.restrictions = append(c.restrictions, r)
	}
	return c, nil
}

func (p *policy) serves(agent int64) bool {
	_, ok := p.agents[agent]
	return ok
}

// label is what messages call an agent, of this cluster or not.
func (p *policy) label(agent int64) string {
	if known, ok := p.agents[agent]; ok {
		return known
	}
	return label(agent, "")
}

func label(id int64, name string) string {
	if name == "" {
		return fmt.Sprintf("agent %d", id)
	}
	return fmt.Sprintf("agent %d (%s)", id, rule.Printable(name, maxName))
}

// compileRestriction refuses what would make a restriction hold nobody back: no name to show, nothing that is required,
// or a filter that no request can match.
func compileRestriction(r *Restriction) (restriction, error) {
	if isBlank(r.Name) {
		return restriction{}, errors.New("it has no name")
	}
	q := &r.Require
	if len(q.Environments)+len(q.EnvironmentTiers)+len(q.Projects)+len(q.Groups)+len(q.Roles) == 0 && !q.ProtectedRef {
		return restriction{}, errors.New("it requires nothing")
	}
	for _, list := range [][]string{r.Namespaces, r.Verbs, r.Resources, q.Environments, q.EnvironmentTiers, q.Roles} {
		if slices.ContainsFunc(list, isBlank) {
			return restriction{}, errors.New("an entry is blank, so it could match nothing")
		}
	}
	return restriction{
		name:          r.Name,
		agents:        slices.Clone(r.Agents),
		resourcesOnly: len(r.Namespaces)+len(r.APIGroups)+len(r.Resources) > 0,
		namespaces:    rule.CompileAll(r.Namespaces),
		verbs:         filter(r.Verbs),
		apiGroups:     filter(r.APIGroups),
		resources:     filter(r.Resources),
		require: requirements{
			environments:     rule.CompileAll(q.Environments),
			environmentTexts: slices.Clone(q.Environments),
			tiers:            slices.Clone(q.EnvironmentTiers),
			protectedRef:     q.ProtectedRef,
			projects:         slices.Clone(q.Projects),
			groups:           slices.Clone(q.Groups),
			roles:            slices.Clone(q.Roles),
		},
	}, nil
}

// filter is a list of RBAC, in which "*" is everything; so is an empty filter.
func filter(entries []string) []string {
	if slices.Contains(entries, everything) {
		return nil
	}
	return slices.Clone(entries)
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }
