package gitlab

import (
	"context"
	"strconv"
)

// tagPath is lib/api/tags.rb: one tag. It takes no job token.
const tagPath = "api/v4/projects/:id/repository/tags/:tag"

// tagMissing is not_found!('Tag') there, told from the 404 for a project that may not be seen.
const tagMissing = "404 Tag Not Found"

// TagProtected asks whether a protected tag rule, by name or by wildcard, covers the tag now. Bounds and errors are
// those of BranchProtected.
func (c *Client) TagProtected(ctx context.Context, cred Credential, projectID int64, tag string) (bool, error) {
	if err := checkName("tag", tag); err != nil {
		return false, err
	}
	r := request{
		endpoint:   tagPath,
		values:     []string{strconv.FormatInt(projectID, 10), tag},
		credential: cred,
		missing:    tagMissing,
	}
	return get(ctx, c, r, protection(tag))
}
