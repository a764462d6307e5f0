package policy

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/job"
)

// Blocked lists jobs that may do nothing here, at login and on every request. A group or user that is not known is not
// blocked.
type Blocked struct {
	Projects []int64 `json:"projects" doc:"GitLab ids of projects." bounds:"at least 1" example:"[150]"`
	Groups   []int64 `json:"groups" doc:"GitLab ids of groups: the project's group, or any above it." bounds:"at least 1" example:"[23]"`
	Users    []int64 `json:"users" doc:"GitLab ids of users." bounds:"at least 1" example:"[9]"`
	Jobs     []int64 `json:"jobs" doc:"GitLab ids of jobs." bounds:"at least 1" example:"[1001]"`
}

func (b *Blocked) clone() Blocked {
	return Blocked{
		Projects: slices.Clone(b.Projects), Groups: slices.Clone(b.Groups), Users: slices.Clone(b.Users), Jobs: slices.Clone(b.Jobs),
	}
}

// facts are what the lists have to be compared with, besides what every identity has.
func (b *Blocked) facts() job.Facts {
	var f job.Facts
	if len(b.Groups) > 0 {
		f |= job.FactGroups
	}
	if len(b.Users) > 0 {
		f |= job.FactUserID
	}
	return f
}

// Reason says which list blocks the job; empty where none does.
func (b *Blocked) Reason(j *job.Job) string {
	switch {
	case slices.Contains(b.Jobs, j.ID):
		return fmt.Sprintf("job %d is blocked in this cluster (blocked.jobs)", j.ID)
	case slices.Contains(b.Projects, j.ProjectID):
		return fmt.Sprintf("project %d is blocked in this cluster (blocked.projects)", j.ProjectID)
	case j.UserID != 0 && slices.Contains(b.Users, j.UserID):
		return fmt.Sprintf("the user of the job is blocked in this cluster (blocked.users: %d)", j.UserID)
	}
	if len(b.Groups) == 0 || !j.Groups.Known {
		return ""
	}
	for _, id := range j.Groups.Value {
		if slices.Contains(b.Groups, id) {
			return fmt.Sprintf("group %d of the project is blocked in this cluster (blocked.groups)", id)
		}
	}
	return ""
}
