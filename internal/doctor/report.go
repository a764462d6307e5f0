package doctor

import "github.com/jobgate/jobgate/internal/findings"

type (
	// State is the result of a check.
	State = findings.State
	// Finding is the result of one check.
	Finding = findings.Finding
)

// The states, from best to worst.
const (
	OK         = findings.OK
	NotChecked = findings.NotChecked
	Warning    = findings.Warning
	Failure    = findings.Failure
)

// Report is everything that was found.
type Report struct {
	findings.List
	Job      *Job      `json:"job,omitempty"`      // as GitLab knows it
	Identity *Identity `json:"identity,omitempty"` // as the API server knows it
	Rights   []Right   `json:"rights,omitempty"`
}

// Job is the job as GitLab knows it.
type Job struct {
	ID              int64   `json:"id"`
	Pipeline        int64   `json:"pipeline"`
	Project         int64   `json:"project"`
	Groups          []int64 `json:"groups,omitempty"`
	User            int64   `json:"user"`
	Username        string  `json:"username"`
	EnvironmentSlug string  `json:"environmentSlug,omitempty"`
	EnvironmentTier string  `json:"environmentTier,omitempty"`
	Agents          []int64 `json:"agents"` // that the job may use, of any cluster
}

// Identity is the job as the API server knows it.
type Identity struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

// Right is something that deployments often do, and whether this job may.
type Right struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason,omitempty"`
}
