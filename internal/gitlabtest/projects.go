package gitlabtest

import "strconv"

// readableProject is the project of the path, by id or full path, if the caller may see it (find_project!,
// lib/api/helpers.rb). A job token sees its own project alone: other projects would need an entry in their allowlist,
// which the Instance does not have.
func (c *call) readableProject() (*Project, error) {
	p := c.projectOfPath()
	switch {
	case p == nil || p.PendingDelete:
		return nil, notFound("Project")
	case c.who.job != nil && c.who.job.Project != p.ID:
		return nil, notFound("Project")
	case p.Public:
		return p, nil
	case c.accessLevel(p) == 0:
		return nil, notFound("Project")
	}
	return p, nil
}

func (c *call) projectOfPath() *Project {
	id := c.param("id")
	if number, err := strconv.ParseInt(id, 10, 64); err == nil {
		return c.st.projects[number]
	}
	return c.st.projectsByPath[foldPath(id)]
}

func (c *call) accessLevel(p *Project) int {
	if c.who.user == nil {
		return 0
	}
	return c.who.user.Access[p.ID]
}

// mayReadInside says whether the caller may read the environments and the repository of a project that it may see: in a
// private project from the reporter role on (deduced).
func (c *call) mayReadInside(p *Project) bool {
	return p.Public || c.accessLevel(p) >= levelReporter
}

// repository is the project of the path if the caller may read its code (authorize_read_code!).
func (c *call) repository() (*Project, error) {
	p, err := c.readableProject()
	if err != nil {
		return nil, err
	}
	if !c.mayReadInside(p) {
		return nil, errForbidden
	}
	return p, nil
}
