package tokenreview

import (
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
)

// One line for each decision that an admin would look for. No line holds anything of a token.

func (a *Authenticator) logLogin(logger klog.Logger, j *job.Job, agentID int64, info user.Info) {
	fields := append(jobFields(j), "agent", agentID, "as", info.GetName())
	if reason := info.GetExtra()[extras.Denied]; len(reason) > 0 {
		a.log.Info(logger, "Job logged in with a denied identity", append(fields, "reason", reason[0])...)
		return
	}
	a.log.Info(logger, "Job logged in", fields...)
}

func (a *Authenticator) logRejection(logger klog.Logger, e *RejectedError) {
	fields := []any{"reason", e.Reason, "message", e.message}
	if e.AgentID != 0 {
		fields = append(fields, "agent", e.AgentID)
	}
	if e.Job != nil {
		fields = append(fields, jobFields(e.Job)...)
	}
	a.log.Info(logger, "Token rejected", fields...)
}

func (a *Authenticator) logUndecided(logger klog.Logger, err error) {
	a.log.Info(logger, "Token could not be checked", "err", err)
}

func jobFields(j *job.Job) []any {
	return []any{"job", j.ID, "project", j.ProjectID, "pipeline", j.PipelineID, "user", j.UserID, "username", j.Username}
}
