package gitlabtest

import (
	"cmp"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

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
	return c.st.projectsByPath[strings.ToLower(id)]
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

// groupEntity is PublicGroupDetails (lib/api/entities/public_group_details.rb).
type groupEntity struct {
	ID        int64   `json:"id"`
	WebURL    string  `json:"web_url"`
	Name      string  `json:"name"`
	AvatarURL *string `json:"avatar_url"`
	FullName  string  `json:"full_name"`
	FullPath  string  `json:"full_path"`
}

// projectGroups is GET /projects/:id/groups: the project's group and the groups above it, the highest id first
// (Projects::GroupsFinder). There are none for a personal project.
func (c *call) projectGroups() (*response, error) {
	project, err := c.readableProject()
	if err != nil {
		return nil, err
	}
	found := []groupEntity{}
	for _, id := range c.st.ancestors(project.Group) {
		full := c.st.groups[id].Path
		found = append(found, groupEntity{
			ID: id, Name: path.Base(full), FullName: strings.ReplaceAll(full, "/", " / "), FullPath: full,
			WebURL: c.base + "/groups/" + full,
		})
	}
	slices.SortFunc(found, func(a, b groupEntity) int { return cmp.Compare(b.ID, a.ID) })
	return paginated(c, found)
}

type protectedEnvironmentEntity struct {
	Name                  string              `json:"name"`
	DeployAccessLevels    []deployAccessLevel `json:"deploy_access_levels"`
	RequiredApprovalCount int                 `json:"required_approval_count"`
	ApprovalRules         []string            `json:"approval_rules"`
}

type deployAccessLevel struct {
	accessLevel
	User  *int64 `json:"user_id"`
	Group *int64 `json:"group_id"`
}

// protectedEnvironment is GET /projects/:id/protected_environments/:name, for maintainers. The community edition has no such
// route.
func (c *call) protectedEnvironment() (*response, error) {
	if !c.st.instance.Settings.Licensed {
		return nil, errNoRoute
	}
	project, err := c.readableProject()
	name := c.param("e")
	switch {
	case err != nil:
		return nil, err
	case c.who.user == nil:
		return nil, errUnauthorized
	case c.accessLevel(project) < levelMaintainer:
		return nil, errForbidden
	case !slices.Contains(project.ProtectedEnvironments, name):
		return nil, errNoRecord
	}
	return jsonResponse(http.StatusOK, protectedEnvironmentEntity{
		Name:               name,
		DeployAccessLevels: []deployAccessLevel{{accessLevel: accessLevel{levelMaintainer, "Maintainers"}}},
		ApprovalRules:      []string{},
	}), nil
}
