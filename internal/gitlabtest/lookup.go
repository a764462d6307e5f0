package gitlabtest

// Job returns the job with this id, for changing it inside Update, or nil.
func (w *Instance) Job(id int64) *Job {
	return find(w.Jobs, func(j *Job) bool { return j.ID == id })
}

// Project returns the project with this id, for changing it inside Update, or nil.
func (w *Instance) Project(id int64) *Project {
	return find(w.Projects, func(p *Project) bool { return p.ID == id })
}

// Agent returns the agent with this id, for changing it inside Update, or nil.
func (w *Instance) Agent(id int64) *Agent {
	return find(w.Agents, func(a *Agent) bool { return a.ID == id })
}

// User returns the user with this id, for changing it inside Update, or nil.
func (w *Instance) User(id int64) *User {
	return find(w.Users, func(u *User) bool { return u.ID == id })
}

// Group returns the group with this id, for changing it inside Update, or nil.
func (w *Instance) Group(id int64) *Group {
	return find(w.Groups, func(g *Group) bool { return g.ID == id })
}

// Environment returns the project's environment of this full name, for changing it inside Update, or nil.
func (p *Project) Environment(name string) *Environment {
	return find(p.Environments, func(e *Environment) bool { return e.Name == name })
}

func find[T any](items []T, match func(*T) bool) *T {
	for i := range items {
		if match(&items[i]) {
			return &items[i]
		}
	}
	return nil
}
