package gitlab

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jobgate/jobgate/internal/job"
)

// currentJobPath is lib/api/ci/jobs.rb: the job behind the token, as lib/api/entities/ci/job.rb presents it.
const currentJobPath = "api/v4/job"

// The bounds of what is read there, in bytes.
const (
	maxSource = 64
	maxURL    = 2048
)

// mergeRequestRefs is how the ref of a merge request's pipeline begins. Older releases use the source branch's name.
const mergeRequestRefs = "refs/merge-requests/"

// commitID is a full object id, of SHA-1 or SHA-256.
var commitID = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// webURL is an address without blanks and control characters.
var webURL = regexp.MustCompile(`^https?://[!-~]+$`)

// Details implements job.FactSource. A refusal is no answer here: whether the job still runs is for Identify to say.
func (c *Client) Details(ctx context.Context, token string, j *job.Job) (job.Details, error) {
	r := request{endpoint: currentJobPath, credential: jobToken(token), queue: facts}
	details, err := get(ctx, c, r, func(a *answer) (job.Details, error) {
		var reply currentJobReply
		if err := a.decode("job", &reply); err != nil {
			return job.Details{}, err
		}
		if err := reply.check(j); err != nil {
			return job.Details{}, err
		}
		return reply.details(), nil
	})
	return details, asTrouble(err)
}

// currentJobReply is the wire form, cut down to what is used.
type currentJobReply struct {
	ID     int64  `json:"id"`
	Ref    string `json:"ref"`
	Tag    *bool  `json:"tag"`
	WebURL string `json:"web_url"`
	Commit struct {
		ID string `json:"id"`
	} `json:"commit"`
	Pipeline struct {
		ProjectID int64  `json:"project_id"`
		Ref       string `json:"ref"`
		Source    string `json:"source"`
	} `json:"pipeline"`
}

// check refuses a reply about another job, and one without what the rules need.
func (r *currentJobReply) check(j *job.Job) error {
	switch {
	case r.ID != j.ID || r.Pipeline.ProjectID != j.ProjectID:
		return fmt.Errorf("%w: it is about job %d of project %d", ErrIncompleteReply, r.ID, r.Pipeline.ProjectID)
	case r.Ref == "" || len(r.Ref) > maxName:
		return fmt.Errorf("%w: ref has %d bytes", ErrIncompleteReply, len(r.Ref))
	case r.Pipeline.Ref == "" || len(r.Pipeline.Ref) > maxName:
		return fmt.Errorf("%w: pipeline's ref has %d bytes", ErrIncompleteReply, len(r.Pipeline.Ref))
	case len(r.Pipeline.Source) > maxSource:
		return fmt.Errorf("%w: pipeline's source has %d bytes", ErrIncompleteReply, len(r.Pipeline.Source))
	case r.Tag == nil:
		return fmt.Errorf("%w: not said whether the ref is a tag", ErrIncompleteReply)
	}
	return nil
}

// details leaves out a commit and a URL that are none: no rule needs them.
func (r *currentJobReply) details() job.Details {
	d := job.Details{Ref: job.Ref{Name: r.Ref, Type: job.Branch}, PipelineSource: r.Pipeline.Source}
	if *r.Tag {
		d.Ref.Type = job.Tag
	}
	if strings.HasPrefix(r.Pipeline.Ref, mergeRequestRefs) || r.Pipeline.Source == job.MergeRequestEvent {
		d.Ref.Name, d.Ref.MergeRequest, d.Ref.Protection = r.Pipeline.Ref, true, job.Unprotected
	}
	if commitID.MatchString(r.Commit.ID) {
		d.Commit = r.Commit.ID
	}
	if len(r.WebURL) <= maxURL && webURL.MatchString(r.WebURL) {
		d.URL = r.WebURL
	}
	return d
}
