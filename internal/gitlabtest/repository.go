package gitlabtest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// branchEntity is API::Entities::Branch (lib/api/entities/branch.rb).
type branchEntity struct {
	Name               string       `json:"name"`
	Commit             commitEntity `json:"commit"`
	Merged             bool         `json:"merged"`
	Protected          bool         `json:"protected"`
	DevelopersCanPush  bool         `json:"developers_can_push"`
	DevelopersCanMerge bool         `json:"developers_can_merge"`
	CanPush            bool         `json:"can_push"`
	Default            bool         `json:"default"`
	WebURL             string       `json:"web_url"`
}

type tagEntity struct {
	Name      string       `json:"name"`
	Message   string       `json:"message"`
	Target    string       `json:"target"`
	Commit    commitEntity `json:"commit"`
	Protected bool         `json:"protected"`
}

type accessLevel struct {
	AccessLevel int    `json:"access_level"`
	Description string `json:"access_level_description"`
}

// branches is GET /projects/:id/repository/branches (lib/api/branches.rb).
func (c *call) branches() (*response, error) {
	project, err := c.repository()
	if err != nil {
		return nil, err
	}
	found := []branchEntity{}
	for _, name := range c.searched(project.Branches) {
		found = append(found, c.branchEntity(project, name))
	}
	return paginated(c, found)
}

// tags is GET /projects/:id/repository/tags (lib/api/tags.rb). GitLab's own order is by time, which the fake's tags do
// not have.
func (c *call) tags() (*response, error) {
	project, err := c.repository()
	if err != nil {
		return nil, err
	}
	found := []tagEntity{}
	for _, name := range c.searched(project.Tags) {
		found = append(found, newTag(project, name))
	}
	return paginated(c, found)
}

// searched are the names that match the parameter search, in order.
func (c *call) searched(names []string) []string {
	search := c.r.URL.Query().Get("search")
	return slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool { return !matchesSearch(name, search) })
}

// matchesSearch is the search of branches and tags (GitRefsFinder): ^ is the beginning, $ the end, * is a wildcard, and
// any other text may be anywhere in the name. Case does not matter.
func matchesSearch(name, search string) bool {
	name, search = strings.ToLower(name), strings.ToLower(search)
	begin, anchoredBegin := strings.CutPrefix(search, "^")
	end, anchoredEnd := strings.CutSuffix(search, "$")
	switch {
	case anchoredBegin:
		return strings.HasPrefix(name, begin)
	case anchoredEnd:
		return strings.HasSuffix(name, end)
	case strings.Contains(search, "*"):
		return wildcard(search).MatchString(name)
	default:
		return strings.Contains(name, search)
	}
}

// branch is GET /projects/:id/repository/branches/:branch. It takes no job tokens: a request with one is anonymous.
func (c *call) branch() (*response, error) {
	project, err := c.repository()
	if err != nil {
		return nil, err
	}
	name := c.param("b")
	if !slices.Contains(project.Branches, name) {
		return nil, notFound("Branch")
	}
	return jsonResponse(http.StatusOK, c.branchEntity(project, name)), nil
}

func (c *call) branchEntity(p *Project, name string) branchEntity {
	return branchEntity{
		Name:      name,
		Commit:    commitOf(objectID("branch " + name)),
		Protected: p.protectedBranch(name),
		CanPush:   c.accessLevel(p) >= levelMaintainer,
		Default:   name == p.defaultBranch(),
		WebURL:    c.base + "/" + p.Path + "/-/tree/" + (&url.URL{Path: name}).EscapedPath(),
	}
}

// defaultBranch is main, or the first branch where there is no main.
func (p *Project) defaultBranch() string {
	if len(p.Branches) == 0 || slices.Contains(p.Branches, "main") {
		return "main"
	}
	return p.Branches[0]
}

// tag is GET /projects/:id/repository/tags/:tag_name (lib/api/tags.rb); it takes no job tokens either.
func (c *call) tag() (*response, error) {
	project, err := c.repository()
	if err != nil {
		return nil, err
	}
	name := c.param("t")
	if !slices.Contains(project.Tags, name) {
		return nil, notFound("Tag")
	}
	return jsonResponse(http.StatusOK, newTag(project, name)), nil
}

func newTag(p *Project, name string) tagEntity {
	commit := commitOf(objectID("tag " + name))
	return tagEntity{Name: name, Target: commit.ID, Commit: commit, Protected: p.protectedTag(name)}
}
