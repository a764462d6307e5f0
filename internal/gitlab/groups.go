package gitlab

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jobgate/jobgate/internal/job"
)

// groupsPath is lib/api/projects.rb: the project's group and the groups above it. It takes no job token.
const groupsPath = "api/v4/projects/:id/groups"

// maxGroupPages bounds the list: 500 groups, where GitLab nests 20.
const maxGroupPages = 5

// Groups returns the ids of the project's groups in the reply's order, asked for with the access token. The error is a
// *job.UnlearnableError where there is no access token or GitLab refuses it, else a *job.UnavailableError.
func (c *Client) Groups(ctx context.Context, projectID int64, lane job.Lane) ([]int64, error) {
	if !c.CanAsk() {
		return nil, &job.UnlearnableError{Why: whyNoAccess}
	}
	r := request{
		endpoint:   groupsPath,
		values:     []string{strconv.FormatInt(projectID, 10)},
		credential: c.access,
		queue:      queueOf(lane),
	}
	ids := []int64{}
	err := c.eachPage(ctx, r, maxGroupPages, func(a *answer) (done bool, err error) {
		var page []identified
		if err := a.decode("groups", &page); err != nil {
			return false, err
		}
		if page == nil {
			return false, fmt.Errorf("%w: no list of groups", ErrIncompleteReply)
		}
		for _, g := range page {
			if g.ID <= 0 {
				return false, fmt.Errorf("%w: group id is %d", ErrIncompleteReply, g.ID)
			}
		}
		for _, g := range page {
			ids = append(ids, g.ID)
		}
		return false, nil
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, asTrouble(err)
	case err != nil:
		return nil, asFactError(err, whyAccess)
	}
	return ids, nil
}
