package policy

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/job"
)

// Projects are GitLab ids of projects.
type Projects []int64

func (p Projects) needs() job.Needs { return job.Needs{} } // every identity has the project

func (p Projects) met(j *job.Job) bool { return slices.Contains(p, j.ProjectID) }

func (p Projects) unmet(j *job.Job) string {
	return fmt.Sprintf("its project must be one of %s, and the job's is %d", ListIDs(p), j.ProjectID)
}
