package policy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Environments are patterns for the whole name of the job's environment. Only the name proves the name: the slug of
// eu/prod is eu-prod-lb01nz, and anyone can call an environment just that. "*" needs no name, as every environment has
// one.
type Environments []string

func (e Environments) validate(path *field.Path) field.ErrorList { return NoBlank(e, path) }

func (e Environments) needs() job.Needs {
	return job.Needs{Facts: job.FactEnvironment, Environments: e}
}

func (e Environments) met(j *job.Job) bool {
	return j.Environment.Exists() && environmentMatches(e, &j.Environment)
}

func (e Environments) unmet(j *job.Job) string {
	return fmt.Sprintf("its environment must be one of %s, and %s", List(e), environmentOf(e, j))
}

// environmentMatches takes an environment that exists.
func environmentMatches(patterns []string, e *job.Environment) bool {
	for _, p := range patterns {
		if matchesEverything(p) || (e.Name.Known && Match(p, e.Name.Value)) {
			return true
		}
	}
	return false
}

// environmentOf says which environment the job has, as far as that is known, where it matches none of the patterns.
func environmentOf(patterns []string, j *job.Job) string {
	e := &j.Environment
	switch {
	case !e.Exists():
		return "the job has none"
	case e.Name.Known:
		return "the job's is " + Quote(e.Name.Value)
	case !slices.ContainsFunc(patterns, e.MayMatch):
		return fmt.Sprintf("the job's environment (slug %s) is another one", Quote(e.Slug))
	default:
		return nameUnknown(e)
	}
}

func nameUnknown(e *job.Environment) string {
	return fmt.Sprintf("the full name of the job's environment (slug %s) is not known: %s", Quote(e.Slug), unknown(e.Name.Why))
}
