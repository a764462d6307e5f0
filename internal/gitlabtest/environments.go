package gitlabtest

import (
	"cmp"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
)

// minSearch is the least length of the search parameter in characters.
const minSearch = 3

type environmentEntity struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Slug        string `json:"slug"`
	ExternalURL string `json:"external_url"`
	State       string `json:"state"`
	Tier        string `json:"tier"`
	CreatedAt   string `json:"created_at"`
	UpdatedAt   string `json:"updated_at"`
}

// environments is GET /projects/:id/environments (lib/api/environments.rb): there is no filter by slug.
func (c *call) environments() (*response, error) {
	if c.who.user == nil {
		return nil, errUnauthorized
	}
	query := c.r.URL.Query()
	name, search, states := query.Get("name"), query.Get("search"), query.Get("states")
	switch {
	case query.Has("name") && query.Has("search"):
		return nil, badParameter("name, search cannot be used together")
	case states != "" && !slices.Contains([]string{"available", "stopping", "stopped"}, states):
		return nil, badParameter("states does not have a valid value")
	}
	project, err := c.readableProject()
	if err != nil {
		return nil, err
	}
	if c.who.job != nil && c.st.instance.Settings.RefusesEnvironmentsToJobTokens {
		return nil, forbidden(fmt.Sprintf("Insufficient permissions to access this resource in project %s. "+
			"The following token permission is required: read_environments.", path.Base(project.Path)))
	}
	if !c.mayReadInside(project) {
		return nil, errForbidden
	}
	if search != "" && len([]rune(search)) < minSearch {
		return nil, message(http.StatusBadRequest,
			fmt.Sprintf("400 Bad request - Search query is less than %d characters", minSearch))
	}
	found := []environmentEntity{}
	for _, e := range project.Environments {
		if (name == "" || e.Name == name) && (states == "" || e.State == states) && startsWith(e.Name, search) {
			found = append(found, environmentEntity{
				ID: e.ID, Name: e.Name, Slug: e.Slug, State: e.State, Tier: e.Tier,
				CreatedAt: projectsCreated, UpdatedAt: projectsCreated,
			})
		}
	}
	slices.SortFunc(found, func(a, b environmentEntity) int { return cmp.Compare(a.ID, b.ID) })
	return paginated(c, found)
}

// startsWith is the search of environments: the beginning of the name, without regard to case
// (Environment.for_name_like).
func startsWith(name, search string) bool {
	return strings.HasPrefix(strings.ToLower(name), strings.ToLower(search))
}
