package gitlab

import (
	"context"
	"strconv"
)

// branchPath is lib/api/branches.rb: one branch. It takes no job token.
const branchPath = "api/v4/projects/:id/repository/branches/:branch"

// branchMissing is not_found!('Branch') there, told from the 404 for a project that may not be seen.
const branchMissing = "404 Branch Not Found"

// BranchProtected asks whether a protected branch rule, by name or by wildcard, covers the branch now. It keeps to the
// bounds of AllowedAgents. The error is a *RefusedError, an *UnavailableError, or wraps ErrNotFound for a branch that
// does not exist: GitLab still judges jobs by such a branch's name, but says nothing here.
func (c *Client) BranchProtected(ctx context.Context, cred Credential, projectID int64, branch string) (bool, error) {
	if err := checkName("branch", branch); err != nil {
		return false, err
	}
	r := request{
		endpoint:   branchPath,
		values:     []string{strconv.FormatInt(projectID, 10), branch},
		credential: cred,
		missing:    branchMissing,
	}
	return get(ctx, c, r, protection(branch))
}
