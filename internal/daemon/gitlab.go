package daemon

import (
	"context"
	"time"

	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// outageLog tells of outages in the log: each change once, at the level of an error while jobs may suffer.
type outageLog struct{ logger klog.Logger }

var _ job.Observer = outageLog{}

func (l outageLog) Away(since time.Time, err error) {
	l.logger.Error(err, "GitLab cannot be asked about jobs", "since", since.UTC().Format(time.RFC3339))
}

func (l outageLog) Stale(staleFor time.Duration) {
	l.logger.Error(nil, "Running jobs go on with GitLab's last answers, each for so long at most", "staleFor", staleFor)
}

func (l outageLog) LoginsFail(err error) {
	l.logger.Error(err, "Jobs that have not logged in yet are refused until GitLab answers")
}

func (l outageLog) Back(after time.Duration) {
	l.logger.Info("GitLab answers again", "after", after.Round(time.Second))
}

// sayWhatGitLabAnswers logs at the start whether GitLab can be asked. It fails nothing: GitLab may be away for a while.
func sayWhatGitLabAnswers(ctx context.Context, c *gitlab.Client, url string) {
	logger := klog.FromContext(ctx)
	version, err := c.Version(ctx)
	switch {
	case err == nil:
		logger.Info("GitLab answers", "gitlab", url, "release", version)
	case ctx.Err() == nil:
		logger.Error(err, "GitLab does not answer; no job can log in until it does", "gitlab", url)
	}
}
