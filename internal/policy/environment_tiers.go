package policy

import (
	"fmt"
	"slices"

	"github.com/jobgate/jobgate/internal/job"
)

// EnvironmentTiers are tiers of the job's environment.
type EnvironmentTiers []string

func (e EnvironmentTiers) needs() job.Needs { return job.Needs{} } // every identity has the tier

func (e EnvironmentTiers) met(j *job.Job) bool { return slices.Contains(e, j.Environment.Tier) }

func (e EnvironmentTiers) unmet(j *job.Job) string {
	is := "the job has no environment"
	if j.Environment.Exists() {
		is = "the job's is " + Quote(j.Environment.Tier)
	}
	return fmt.Sprintf("its environment's tier must be one of %s, and %s", List(e), is)
}
