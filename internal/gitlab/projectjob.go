package gitlab

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jobgate/jobgate/internal/job"
)

// projectJobPath is lib/api/ci/jobs.rb: a project's job by its id. It takes no job token.
const projectJobPath = "api/v4/projects/:id/jobs/:job_id"

// maxStatus bounds a status, in bytes.
const maxStatus = 64

// Status implements job.StatusSource with the access token. A refusal of that token says nothing about the job.
func (c *Client) Status(ctx context.Context, projectID, jobID int64, lane job.Lane) (string, error) {
	r := request{
		endpoint:   projectJobPath,
		values:     []string{strconv.FormatInt(projectID, 10), strconv.FormatInt(jobID, 10)},
		credential: c.access,
		queue:      queueOf(lane),
		missing:    noRecord,
	}
	status, err := get(ctx, c, r, func(a *answer) (string, error) {
		var reply struct {
			ID     int64  `json:"id"`
			Status string `json:"status"`
		}
		if err := a.decode("job", &reply); err != nil {
			return "", err
		}
		if reply.ID != jobID || reply.Status == "" || len(reply.Status) > maxStatus {
			return "", fmt.Errorf("%w: job %d with a status of %d bytes", ErrIncompleteReply, reply.ID, len(reply.Status))
		}
		return reply.Status, nil
	})
	if isRefused(err) {
		return "", asTrouble(err)
	}
	if isDefinite(err) {
		return "", &job.RejectedError{Rejection: job.NotRunning, Message: noRecord[0]}
	}
	return status, err
}
