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
	}
	out.Users = slices.Clone(w.Users)
	for i := range out.Users {
		out.Users[i].Access = maps.Clone(out.Users[i].Access)
	}
	out.Agents = slices.Clone(w.Agents)
	out.Jobs = slices.Clone(w.Jobs)
	out.Tokens = slices.Clone(w.Tokens)
	for i := range out.Tokens {
		out.Tokens[i].Scopes = slices.Clone(out.Tokens[i].Scopes)
	}
	return out
}
