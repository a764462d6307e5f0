package tokenreview

import (
	"sync/atomic"

	"golang.org/x/time/rate"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/job"
)

// Lines about logins and refusals: enough for every job of a busy night, few enough that a flood of bad tokens cannot
// fill a disk. What was left out is counted in the next line that is written.
const (
	linesPerSecond = 20
	lineBurst      = 1000
)

// sampledLog writes one line for each decision that an admin would look for. No line holds anything of a token.
type sampledLog struct {
	limiter *rate.Limiter
	dropped atomic.Int64
}

func newSampledLog() *sampledLog {
	return &sampledLog{limiter: rate.NewLimiter(linesPerSecond, lineBurst)}
}

func (l *sampledLog) login(logger klog.Logger, j *job.Job, info user.Info) {
	l.write(logger, "Job logged in", append(jobFields(j), "agent", info.GetExtra()[extraAgent][0], "as", info.GetName())...)
}

func (l *sampledLog) rejection(logger klog.Logger, e *RejectedError) {
	fields := []any{"reason", e.Reason, "message", e.message}
	if e.AgentID != 0 {
		fields = append(fields, "agent", e.AgentID)
	}
	if e.Job != nil {
		fields = append(fields, jobFields(e.Job)...)
	}
	l.write(logger, "Token rejected", fields...)
}

func (l *sampledLog) undecided(logger klog.Logger, err error) {
	l.write(logger, "Token could not be checked", "err", err)
}

func (l *sampledLog) write(logger klog.Logger, message string, fields ...any) {
	if !l.limiter.Allow() {
		l.dropped.Add(1)
		return
	}
	if n := l.dropped.Swap(0); n > 0 {
		fields = append(fields, "linesLeftOut", n)
	}
	logger.Info(message, fields...)
}

func jobFields(j *job.Job) []any {
	return []any{"job", j.ID, "project", j.ProjectID, "pipeline", j.PipelineID, "user", j.UserID, "username", j.Username}
}
