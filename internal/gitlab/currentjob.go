package gitlab

import (
	"context"
	"fmt"

	kjson "sigs.k8s.io/json"
)

// currentJobPath is lib/api/ci/jobs.rb: the job behind the token, as lib/api/entities/ci/job.rb presents it.
const currentJobPath = "api/v4/job"

// CurrentJob is what GET /job says beyond AllowedAgents. Every id is greater than zero. The refs are not empty, and no
// text is longer than 1024 bytes; they are free text of another system all the same.
type CurrentJob struct {
	JobID       int64
	Ref         string // a branch, or a tag where Tag is set, by its short name
	Tag         bool
	PipelineID  int64
	ProjectID   int64
	PipelineRef string // as Ref, or refs/merge-requests/<iid>/head (or merge, or train)
	Source      string // push, schedule, merge_request_event, ...; empty where GitLab is too old to say
}

// CurrentJob asks GitLab for the ref and the pipeline of the job behind the token, with the bounds of AllowedAgents.
// The error is a *RefusedError or an *UnavailableError: whether the job still runs is for AllowedAgents to say.
func (c *Client) CurrentJob(ctx context.Context, jobToken string, urgency Urgency) (*CurrentJob, error) {
	return get(ctx, c, request{endpoint: currentJobPath, credential: JobToken(jobToken), urgency: urgency}, readCurrentJob)
}

// currentJobReply is the wire form, cut down to what is used.
type currentJobReply struct {
	ID       int64  `json:"id"`
	Ref      string `json:"ref"`
	Tag      *bool  `json:"tag"`
	Pipeline struct {
		ID        int64  `json:"id"`
		ProjectID int64  `json:"project_id"`
		Ref       string `json:"ref"`
		Source    string `json:"source"`
	} `json:"pipeline"`
}

func readCurrentJob(a answer) (*CurrentJob, error) {
	var reply currentJobReply
	if err := kjson.UnmarshalCaseSensitivePreserveInts(a.body, &reply); err != nil {
		return nil, fmt.Errorf("decode job: %w", err)
	}
	if err := reply.check(); err != nil {
		return nil, err
	}
	return &CurrentJob{
		JobID:       reply.ID,
		Ref:         reply.Ref,
		Tag:         *reply.Tag,
		PipelineID:  reply.Pipeline.ID,
		ProjectID:   reply.Pipeline.ProjectID,
		PipelineRef: reply.Pipeline.Ref,
		Source:      reply.Pipeline.Source,
	}, nil
}

func (r *currentJobReply) check() error {
	for _, id := range []struct {
		of    string
		value int64
	}{{"job", r.ID}, {"pipeline", r.Pipeline.ID}, {"project", r.Pipeline.ProjectID}} {
		if id.value <= 0 {
			return fmt.Errorf("%w: %s id is %d", ErrIncompleteReply, id.of, id.value)
		}
	}
	switch {
	case r.Ref == "" || len(r.Ref) > maxName:
		return fmt.Errorf("%w: ref has %d bytes", ErrIncompleteReply, len(r.Ref))
	case r.Pipeline.Ref == "" || len(r.Pipeline.Ref) > maxName:
		return fmt.Errorf("%w: pipeline's ref has %d bytes", ErrIncompleteReply, len(r.Pipeline.Ref))
	case len(r.Pipeline.Source) > maxName:
		return fmt.Errorf("%w: pipeline's source has %d bytes", ErrIncompleteReply, len(r.Pipeline.Source))
	case r.Tag == nil:
		return fmt.Errorf("%w: not said whether the ref is a tag", ErrIncompleteReply)
	}
	return nil
}
