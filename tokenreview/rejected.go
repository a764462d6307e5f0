package tokenreview

import (
	"fmt"

	"github.com/jobgate/jobgate/internal/job"
)

// Reason says why a token was rejected, in one word for metrics and logs.
type Reason string

// The reasons, in the order in which they are checked.
const (
	ReasonMalformed          Reason = "malformed"            // breaks the grammar
	ReasonUnknownAgent       Reason = "unknown_agent"        // the agent does not stand for this cluster
	ReasonExpired            Reason = "expired"              // a JWT past its own expiry
	ReasonNotRunning         Reason = "not_running"          // GitLab: 401
	ReasonForbiddenUser      Reason = "forbidden_user"       // GitLab: 403
	ReasonNotAJobToken       Reason = "not_a_job_token"      // GitLab: 404
	ReasonNotListed          Reason = "not_listed"           // GitLab does not list the agent for the job
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

func reject(reason Reason, agentID int64, j *job.Job, format string, args ...any) *RejectedError {
	return &RejectedError{Reason: reason, AgentID: agentID, Job: j, message: fmt.Sprintf(format, args...)}
}
