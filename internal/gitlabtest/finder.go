package gitlabtest

import (
	"cmp"
	"slices"
)

// authorization says that a project's jobs may use an agent. A nil entry is the implicit authorization of the agent's
// own project, whose configuration is {}.
type authorization struct {
	agent *Agent
	entry *accessEntry
}

// grants are the authorization rows that RefreshService keeps for the agents, by what they authorize.
type grants struct {
	projects     map[int64][]authorization
	groups       map[int64][]authorization
	organization []authorization
	implicit     map[int64][]authorization // by the project the agents are registered in
}

// refresh pushes one agent's configuration (RefreshService). Paths that name nothing are ignored. GitLab also
// drops what lies outside the agent's hierarchy, or outside its organization with that setting on. The finder checks the
// same, so here it would make no difference.
func (st *state) refresh(agent *Agent, access *ciAccess) {
	implicit := authorization{agent: agent}
	st.grants.implicit[agent.Project] = append(st.grants.implicit[agent.Project], implicit)
	for i := range access.projects {
		entry := &access.projects[i]
		if p := st.projectsByPath[entry.path]; p != nil {
			st.grants.projects[p.ID] = append(st.grants.projects[p.ID], authorization{agent, entry})
		}
	}
	for i := range access.groups {
		entry := &access.groups[i]
		if g := st.groupsByPath[entry.path]; g != nil {
			st.grants.groups[g.ID] = append(st.grants.groups[g.ID], authorization{agent, entry})
		}
	}
	if access.instance != nil && st.instance.Settings.OrganizationAuthorization {
		st.grants.organization = append(st.grants.organization, authorization{agent, access.instance})
	}
}

// authorizations are the agents a project is authorized for, one entry each, the most specific first (Finder,
// app/finders/clusters/agents/authorizations/ci_access/finder.rb). The licence is checked before an agent's entries
// are reduced to one, so a wider entry can apply once the licence is lost. The filters are checked after.
func (st *state) authorizations(p *Project) []authorization {
	found := slices.Concat(
		st.projectAuthorizations(p), st.grants.implicit[p.ID], st.groupAuthorizations(p), st.organizationAuthorizations(p))
	seen := make(map[int64]bool, len(found))
	return slices.DeleteFunc(found, func(a authorization) bool {
		duplicate := seen[a.agent.ID]
		seen[a.agent.ID] = true
		return duplicate
	})
}

func (st *state) projectAuthorizations(p *Project) []authorization {
	return st.usable(st.grants.projects[p.ID], func(home *Project) bool { return st.mayReach(home, p) })
}

// groupAuthorizations has one row per agent, that of the nearest group, by agent id.
func (st *state) groupAuthorizations(p *Project) []authorization {
	nearest := map[int64]authorization{}
	for _, group := range st.ancestors(p.Group) {
		rows := st.usable(st.grants.groups[group], func(home *Project) bool { return st.mayReach(home, p) })
		for _, a := range rows {
			if _, found := nearest[a.agent.ID]; !found {
				nearest[a.agent.ID] = a
			}
		}
	}
	rows := make([]authorization, 0, len(nearest))
	for _, a := range nearest {
		rows = append(rows, a)
	}
	slices.SortFunc(rows, func(a, b authorization) int { return cmp.Compare(a.agent.ID, b.agent.ID) })
	return rows
}

func (st *state) organizationAuthorizations(p *Project) []authorization {
	return st.usable(st.grants.organization, func(home *Project) bool { return home.Organization == p.Organization })
}

// usable keeps the rows whose agent's project fits and whose access_as the licence allows.
func (st *state) usable(rows []authorization, fits func(home *Project) bool) []authorization {
	var kept []authorization
	for _, a := range rows {
		if fits(st.projects[a.agent.Project]) && a.entry.available(st.instance.Settings.Licensed) {
			kept = append(kept, a)
		}
	}
	return kept
}

// mayReach tells whether project and group entries of an agent in the project home count for the asking project. With
// the setting they do in the whole organization, from 18.1 on (!190769).
func (st *state) mayReach(home, asking *Project) bool {
	if st.instance.Settings.OrganizationAuthorization && st.release.atLeast(18, 1, 0) {
		return home.Organization == asking.Organization
	}
	return st.sameHierarchy(asking, home)
}

// sameHierarchy tells whether the agent's project is anywhere under the root group of the asking project, or, when that
// is a personal one, in the identical namespace.
func (st *state) sameHierarchy(asking, home *Project) bool {
	if asking.Group == 0 {
		return home.UserNamespace == asking.UserNamespace // which is 0 for a project of a group
	}
	return home.Group != 0 && st.root(home.Group) == st.root(asking.Group)
}

// ancestors are the group itself and its ancestors, nearest first (self_and_ancestor_ids, the order in which the lookup
// returns them). There are none for group 0.
func (st *state) ancestors(group int64) []int64 {
	var ids []int64
	for id := group; id != 0; id = st.groups[id].Parent {
		ids = append(ids, id)
	}
	return ids
}

func (st *state) root(group int64) int64 {
	for st.groups[group].Parent != 0 {
		group = st.groups[group].Parent
	}
	return group
}
