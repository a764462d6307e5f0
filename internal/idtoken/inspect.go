package idtoken

import (
	"time"

	json "github.com/go-json-experiment/json"
)

// Statement is what an ID token says, without any proof: for the author of a job who looks for a fault.
type Statement struct {
	Issuer   string
	Audience string
	Expires  time.Time
	// JobID, and the project that runs the job.
	JobID, ProjectID int64
	// IsFork says that ref, protection and role are those of another project's merge request.
	IsFork bool
	// IsMergeRequest says that the ref meets no requirement, whatever its name and protection.
	IsMergeRequest bool
}

// Inspect reads a token as a cluster for its audience would, and asks no one. The error is a *job.RejectedError, of a token that
// no cluster takes whatever its configuration is. It repeats nothing of the token.
func Inspect(token string) (Statement, error) {
	if len(token) > maxToken {
		return Statement{}, tooLong()
	}
	_, payload, err := split(token)
	if err != nil {
		return Statement{}, err
	}
	var c claims
	if json.Unmarshal(payload, &c) != nil {
		return Statement{}, badForm()
	}
	j, err := c.job("")
	if err != nil {
		return Statement{}, err
	}
	if c.Expires <= 0 {
		return Statement{}, invalid("it does not say when it ends")
	}
	return Statement{
		Issuer: c.Issuer, Audience: c.Audience[0], Expires: time.Unix(c.Expires, 0), JobID: j.ID, ProjectID: j.ProjectID,
		IsFork: c.isFork(), IsMergeRequest: j.Ref.MergeRequest,
	}, nil
}

func tooLong() error {
	return invalid("it is longer than %d characters; let the job's id_tokens carry fewer claims", maxToken)
}
