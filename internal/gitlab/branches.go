package gitlab

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// branchesPath is lib/api/branches.rb: a project's branches. GitLab 19 lets a job token read them; older ones answer 404.
const branchesPath = "api/v4/projects/:id/repository/branches"

// maxBranchPages bounds one search: 2,000 branches that begin with the name of the one sought.
const maxBranchPages = 20

// BranchListed is BranchProtected for a job token, which may read the list only. It takes at most the client's timeout,
// and at most 20 pages.
func (c *Client) BranchListed(ctx context.Context, jobToken string, projectID int64, branch string) (bool, error) {
	if err := checkName("branch", branch); err != nil {
		return false, err
	}
	r := request{
		endpoint:   branchesPath,
		values:     []string{strconv.FormatInt(projectID, 10)},
		query:      url.Values{"search": {startingWith(branch)}},
		credential: JobToken(jobToken),
	}
	found, err := lookThrough(ctx, c, r, maxBranchPages, pickBranch(branch))
	if err != nil {
		return false, err
	}
	return *found, nil
}

// startingWith is the search for the branches whose name begins so, in any case. The list is sorted by name, so the
// branch sought is on the first page. Only ^ works in every release (app/finders/git_refs_finder.rb): with a $ behind it,
// some look for the exact name and others for a name with a dollar. Of a name with an operator in it, what stands before
// is searched for; Git allows a branch no operator but the dollar.
func startingWith(branch string) string {
	if i := strings.IndexAny(branch, "^$*"); i >= 0 {
		branch = branch[:i]
	}
	return "^" + branch
}

func pickBranch(name string) func([]byte) (*bool, error) {
	return func(body []byte) (*bool, error) {
		var page []ref
		if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &page); err != nil {
			return nil, fmt.Errorf("decode branches: %w", err)
		}
		if page == nil {
			return nil, fmt.Errorf("%w: no list of branches", ErrIncompleteReply)
		}
		for _, r := range page {
			if r.Name == name {
				protected, err := r.protected()
				return &protected, err
			}
		}
		return nil, nil
	}
}
