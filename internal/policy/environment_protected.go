package policy

import (
	"fmt"

	"github.com/jobgate/jobgate/internal/job"
)

// EnvironmentProtected asks that GitLab protects the job's environment.
type EnvironmentProtected bool

// needs asks for the name, too: GitLab protects names.
func (e EnvironmentProtected) needs() job.Needs {
	return job.Needs{Facts: job.FactEnvironment | job.FactEnvironmentProtected, AnyEnvironment: true}
}

func (e EnvironmentProtected) met(j *job.Job) bool {
	return j.Environment.Exists() && j.Environment.Protected.Known && j.Environment.Protected.Value
}

func (e EnvironmentProtected) unmet(j *job.Job) string {
	const must = "its environment must be protected in GitLab, and "
	switch e := &j.Environment; {
	case !e.Exists():
		return must + "the job has none"
	case e.Protected.Known:
		return must + "the job's is not"
	case !e.Name.Known: // GitLab protects names
		return must + nameUnknown(e)
	default:
		return fmt.Sprintf("%swhether the job's (%s) is protected is not known: %s", must, Quote(e.Name.Value), unknown(e.Protected.Why))
	}
}
