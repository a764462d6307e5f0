package gitlabtest

import (
	"maps"
	"slices"
)

// clone returns a copy that shares nothing that could be changed.
func (w *Instance) clone() Instance {
	out := *w
	out.Settings.ExtraRoles = slices.Clone(w.Settings.ExtraRoles)
	out.Groups = slices.Clone(w.Groups)
	out.Projects = slices.Clone(w.Projects)
	for i := range out.Projects {
		p := &out.Projects[i]
		p.Branches = slices.Clone(p.Branches)
		p.Tags = slices.Clone(p.Tags)
		p.ProtectedBranches = slices.Clone(p.ProtectedBranches)
		p.ProtectedTags = slices.Clone(p.ProtectedTags)
		p.Environments = slices.Clone(p.Environments)
		p.ProtectedEnvironments = slices.Clone(p.ProtectedEnvironments)
		p.IDTokenSubject = slices.Clone(p.IDTokenSubject)
	}
	out.Users = slices.Clone(w.Users)
	for i := range out.Users {
		u := &out.Users[i]
		u.Access = maps.Clone(u.Access)
		u.Identities, u.DirectGroups = slices.Clone(u.Identities), slices.Clone(u.DirectGroups)
	}
	out.Agents = slices.Clone(w.Agents)
	out.Jobs = slices.Clone(w.Jobs)
	for i := range out.Jobs {
		if protected := out.Jobs[i].Protected; protected != nil {
			out.Jobs[i].Protected = new(*protected)
		}
	}
	out.Tokens = slices.Clone(w.Tokens)
	for i := range out.Tokens {
		out.Tokens[i].Scopes = slices.Clone(out.Tokens[i].Scopes)
	}
	return out
}
