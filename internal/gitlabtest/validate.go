package gitlabtest

import (
	"fmt"
	"slices"
	"strings"
)

// validate returns the first thing about a completed Instance that no GitLab could hold: a reference to nothing, an id or
// a path that is not unique, a value outside its set.
func validate(w *Instance) error {
	for _, check := range []func(*Instance) error{
		validateGroups, validateProjects, validateUsers, validateAgents, validateJobs, validateTokens,
	} {
		if err := check(w); err != nil {
			return err
		}
	}
	return nil
}

func validateGroups(w *Instance) error {
	ids, paths := idSet{kind: "group"}, map[string]int64{}
	parents := map[int64]int64{}
	for _, g := range w.Groups {
		if err := ids.add(g.ID); err != nil {
			return err
		}
		if err := uniquePath(paths, "group", g.ID, g.Path); err != nil {
			return err
		}
		parents[g.ID] = g.Parent
	}
	for _, g := range w.Groups {
		steps := 0
		for at := g.Parent; at != 0; at = parents[at] {
			if !ids.has(at) {
				return fmt.Errorf("group %d: its ancestor %d does not exist", g.ID, at)
			}
			if steps++; steps > len(w.Groups) {
				return fmt.Errorf("group %d: its ancestors form a circle", g.ID)
			}
		}
	}
	return nil
}

func validateProjects(w *Instance) error {
	ids, paths := idSet{kind: "project"}, map[string]int64{}
	groups := idsOf(w.Groups, func(g Group) int64 { return g.ID })
	for _, p := range w.Projects {
		if err := ids.add(p.ID); err != nil {
			return err
		}
		if err := uniquePath(paths, "project", p.ID, p.Path); err != nil {
			return err
		}
		switch {
		case p.Group != 0 && !groups[p.Group]:
			return fmt.Errorf("project %d: group %d does not exist", p.ID, p.Group)
		case p.Group != 0 && p.UserNamespace != 0:
			return fmt.Errorf("project %d is in group %d and in user namespace %d", p.ID, p.Group, p.UserNamespace)
		}
		if err := validateEnvironments(p); err != nil {
			return fmt.Errorf("project %d: %w", p.ID, err)
		}
	}
	return nil
}

func validateEnvironments(p Project) error {
	names := map[string]bool{}
	for _, e := range p.Environments {
		switch {
		case e.Name == "":
			return fmt.Errorf("environment %d has no name", e.ID)
		case names[e.Name]:
			return fmt.Errorf("environment %q is there twice", e.Name)
		case !slices.Contains([]string{"available", "stopping", "stopped"}, e.State):
			return fmt.Errorf("environment %q: unknown state %q", e.Name, e.State)
		}
		names[e.Name] = true
	}
	return nil
}

func validateUsers(w *Instance) error {
	ids, names := idSet{kind: "user"}, map[string]int64{}
	projects := idsOf(w.Projects, func(p Project) int64 { return p.ID })
	for _, u := range w.Users {
		if err := ids.add(u.ID); err != nil {
			return err
		}
		if err := uniquePath(names, "user", u.ID, u.Username); err != nil {
			return err
		}
		for project := range u.Access {
			if !projects[project] {
				return fmt.Errorf("user %d has access to project %d, which does not exist", u.ID, project)
			}
		}
	}
	return nil
}

func validateAgents(w *Instance) error {
	type key struct {
		project int64
		name    string
	}
	ids, names := idSet{kind: "agent"}, map[key]bool{}
	projects := idsOf(w.Projects, func(p Project) int64 { return p.ID })
	for _, a := range w.Agents {
		if err := ids.add(a.ID); err != nil {
			return err
		}
		switch k := (key{a.Project, a.Name}); {
		case a.Name == "":
			return fmt.Errorf("agent %d has no name", a.ID)
		case !projects[a.Project]:
			return fmt.Errorf("agent %d: project %d does not exist", a.ID, a.Project)
		case names[k]:
			return fmt.Errorf("agent %d: project %d has another agent %q", a.ID, a.Project, a.Name)
		default:
			names[k] = true
		}
	}
	return nil
}

func validateJobs(w *Instance) error {
	ids, tokens := idSet{kind: "job"}, map[string]int64{}
	projects := idsOf(w.Projects, func(p Project) int64 { return p.ID })
	users := idsOf(w.Users, func(u User) int64 { return u.ID })
	for _, j := range w.Jobs {
		if err := ids.add(j.ID); err != nil {
			return err
		}
		switch {
		case !projects[j.Project]:
			return fmt.Errorf("job %d: project %d does not exist", j.ID, j.Project)
		case j.Pipeline.SourceProject != 0 && j.Pipeline.Kind != kindMergeRequest:
			return fmt.Errorf("job %d: a pipeline of kind %q has no source project", j.ID, j.Pipeline.Kind)
		case j.Pipeline.SourceProject != 0 && !projects[j.Pipeline.SourceProject]:
			return fmt.Errorf("job %d: source project %d does not exist", j.ID, j.Pipeline.SourceProject)
		case j.User != 0 && !users[j.User]:
			return fmt.Errorf("job %d: user %d does not exist", j.ID, j.User)
		case !slices.Contains(jobStatuses, j.Status):
			return fmt.Errorf("job %d: unknown status %q", j.ID, j.Status)
		case !slices.Contains([]string{"", kindBranch, kindTag, kindMergeRequest}, j.Pipeline.Kind):
			return fmt.Errorf("job %d: unknown pipeline kind %q", j.ID, j.Pipeline.Kind)
		case !slices.Contains([]string{formatDatabase, formatLegacy, formatPartition, formatJWT}, j.TokenFormat):
			return fmt.Errorf("job %d: unknown token format %q", j.ID, j.TokenFormat)
		case j.Pipeline.ID < 0:
			return fmt.Errorf("job %d: pipeline id %d is negative", j.ID, j.Pipeline.ID)
		case tokens[j.Token] != 0:
			return fmt.Errorf("job %d has the token of job %d", j.ID, tokens[j.Token])
		}
		tokens[j.Token] = j.ID
	}
	return nil
}

func validateTokens(w *Instance) error {
	users := idsOf(w.Users, func(u User) int64 { return u.ID })
	seen := map[string]bool{}
	for i, t := range w.Tokens {
		switch {
		case t.Token == "":
			return fmt.Errorf("access token %d is empty", i)
		case seen[t.Token]:
			return fmt.Errorf("access token %d is there twice", i)
		case !users[t.User]:
			return fmt.Errorf("access token %d: user %d does not exist", i, t.User)
		}
		seen[t.Token] = true
	}
	return nil
}

// idSet collects the ids of one kind of record.
type idSet struct {
	kind string
	ids  map[int64]bool
}

func (s *idSet) add(id int64) error {
	if id <= 0 {
		return fmt.Errorf("%s id %d is not positive", s.kind, id)
	}
	if s.ids[id] {
		return fmt.Errorf("%s id %d is there twice", s.kind, id)
	}
	if s.ids == nil {
		s.ids = map[int64]bool{}
	}
	s.ids[id] = true
	return nil
}

func (s *idSet) has(id int64) bool { return s.ids[id] }

func idsOf[T any](items []T, id func(T) int64) map[int64]bool {
	ids := make(map[int64]bool, len(items))
	for _, item := range items {
		ids[id(item)] = true
	}
	return ids
}

// uniquePath refuses an empty path and one that differs from another by case alone: GitLab finds both without case.
func uniquePath(taken map[string]int64, kind string, id int64, path string) error {
	folded := strings.ToLower(path)
	switch {
	case path == "":
		return fmt.Errorf("%s %d has no path or name", kind, id)
	case taken[folded] != 0:
		return fmt.Errorf("%s %d: %q is taken by %s %d", kind, id, path, kind, taken[folded])
	}
	taken[folded] = id
	return nil
}
