package tokenreview

import (
	"errors"
	"fmt"

	"github.com/jobgate/jobgate/internal/job"
)

// Reason says why a token was rejected, in one word for metrics and logs.
type Reason string

// The reasons, in the order in which they are checked.
const (
	ReasonMalformed          Reason = "malformed"            // breaks the grammar
	ReasonUnknownAgent       Reason = "unknown_agent"        // the agent is not one of this cluster
	ReasonUnknownCluster     Reason = "unknown_cluster"      // the cluster's name is not this one's
	ReasonExpired            Reason = "expired"              // past the end that the token itself states
	ReasonInvalidIDToken     Reason = "invalid_id_token"     // signature or claims
	ReasonNotRunning         Reason = "not_running"          // GitLab: no running job
	ReasonForbiddenUser      Reason = "forbidden_user"       // GitLab: the job's user may not use the API
	ReasonNotAJobToken       Reason = "not_a_job_token"      // GitLab: a token, but no job's
	ReasonBlocked            Reason = "blocked"              // the cluster's admin blocks the job
	ReasonNotListed          Reason = "not_listed"           // GitLab does not list the agent for the job
	ReasonNoGrant            Reason = "no_grant"             // no grant names the job
	ReasonConfiguration      Reason = "agent_configuration"  // the agent's entry cannot be used
	ReasonIdentityNotAllowed Reason = "identity_not_allowed" // access_as impersonate outside of what the admin allows
)

// RejectedError is a definite no. Its text says what happened, for which job and agent, and what to do; it never holds
// anything of the token.
type RejectedError struct {
	Reason  Reason
	AgentID int64    // 0 where the token named none that is well formed
	Job     *job.Job // nil where the job is not known
	message string
}

// Error is never empty: kube-apiserver caches a refusal without an error.
func (e *RejectedError) Error() string {
	if e.message == "" {
		return "the token is rejected: " + string(e.Reason)
	}
	return e.message
}

func reject(reason Reason, v via, j *job.Job, format string, args ...any) *RejectedError {
	return &RejectedError{Reason: reason, AgentID: v.agentID, Job: j, message: fmt.Sprintf(format, args...)}
}

// explain turns definite rejections into ones that a person can act on, and leaves everything else undecided.
func explain(err error, v via) error {
	var rejected *job.RejectedError
	if !errors.As(err, &rejected) {
		return fmt.Errorf("look up the job that logs in through %s: %w", v.name, err)
	}
	switch rejected.Rejection {
	case job.ForbiddenUser:
		return reject(ReasonForbiddenUser, v, rejected.Job,
			"GitLab does not let the job's user use its API (login through %s; GitLab says %q); unblock or confirm the account in GitLab",
			v.name, rejected.Message)
	case job.NotAJob:
		return reject(ReasonNotAJobToken, v, rejected.Job,
			"the token for %s is a GitLab token, but not a job's; use the $CI_JOB_TOKEN of a running job", v.name)
	case job.Invalid:
		return reject(ReasonInvalidIDToken, v, rejected.Job, "the ID token for %s is refused: %s", v.name, rejected.Message)
	case job.Expired:
		return expired(v, rejected.Job)
	default:
		return reject(ReasonNotRunning, v, rejected.Job,
			"GitLab knows no running job with the token for %s: the job has ended, or the token is not its own; start the job again",
			v.name)
	}
}

func expired(v via, j *job.Job) error {
	return reject(ReasonExpired, v, j, "the token for %s has expired: the job's time is over; start the job again", v.name)
}
