package policy

import (
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
)

// Requirements are facts about a job. All that are given must hold, each list by any one of its items. A fact that is not
// known fails.
type Requirements struct {
	Environments         Environments         `json:"environments" doc:"Patterns for the whole name of the job's environment; * matches any run of characters." cost:"For a name one request to GitLab, for a wildcard a search through the project's environments. The project's jobs share both for a minute." example:"[production, \"prod/*\"]"`
	EnvironmentTiers     EnvironmentTiers     `json:"environmentTiers" doc:"Tiers of the job's environment." enum:"production,staging,testing,development,other" example:"[production]"`
	EnvironmentProtected EnvironmentProtected `json:"environmentProtected" doc:"GitLab protects the job's environment (Premium). It needs gitlab.tokenFile, or an ID token." cost:"A listing of the project's protected environments, which its jobs share for a minute." example:"true"`
	ProtectedRef         ProtectedRef         `json:"protectedRef" doc:"The job runs for a protected branch or tag. No merge request's pipeline does." cost:"One request to GitLab for each job, and one or two for its ref, which the project's jobs share for a minute." example:"true"`
	Refs                 Refs                 `json:"refs" doc:"Patterns for the name of the branch or tag. No merge request's pipeline matches." cost:"One request to GitLab for each job. All rules on refs and pipelines share it." example:"[main, \"release/*\"]"`
	RefTypes             RefTypes             `json:"refTypes" doc:"What the job runs for." cost:"One request to GitLab for each job. All rules on refs and pipelines share it." enum:"branch,tag" example:"[tag]"`
	PipelineSources      PipelineSources      `json:"pipelineSources" doc:"What started the pipeline, in GitLab's words ($CI_PIPELINE_SOURCE)." cost:"One request to GitLab for each job. All rules on refs and pipelines share it." example:"[push, web, schedule]"`
	Projects             Projects             `json:"projects" doc:"GitLab ids of projects." bounds:"at least 1" example:"[150]"`
	Groups               Groups               `json:"groups" doc:"GitLab ids of groups: the project's group, or any above it." bounds:"at least 1" example:"[23]"`
	Roles                Roles                `json:"roles" doc:"Roles of the job's user in the project. GitLab counts every lower role as well." example:"[maintainer, owner]"`
}

// requirement is one field of Requirements.
type requirement interface {
	// needs are the facts to judge by.
	needs() job.Needs
	met(j *job.Job) bool
	// unmet is the clause of a refusal: what is required, and what the job has instead.
	unmet(j *job.Job) string
}

// validator is a requirement that can be written so that no job meets it.
type validator interface {
	// validate finds what could never hold, beyond what the field's tags say. It is called only for one that is set.
	validate(path *field.Path) field.ErrorList
}

// namedRequirement is one that is set, with its key in the configuration.
type namedRequirement struct {
	key string
	requirement
}

// list are the requirements that are set, in the order of the fields. It is a copy.
func (r *Requirements) list() []namedRequirement {
	var set []namedRequirement
	value := reflect.ValueOf(*r)
	for i := range value.NumField() {
		v := value.Field(i)
		if v.Kind() == reflect.Slice {
			v = reflect.AppendSlice(reflect.Zero(v.Type()), v) // nil for an empty list
		}
		if !v.IsZero() {
			key, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
			set = append(set, namedRequirement{key: key, requirement: v.Interface().(requirement)}) // a test makes one of each field
		}
	}
	return set
}

// Validate finds requirements that no job can meet.
func (r *Requirements) Validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, q := range r.list() {
		if v, ok := q.requirement.(validator); ok {
			errs = append(errs, v.validate(path.Child(q.key))...)
		}
	}
	return errs
}

// IsZero says whether nothing is required.
func (r *Requirements) IsZero() bool { return len(r.list()) == 0 }

// requirements are Requirements, compiled once and never changed.
type requirements []namedRequirement

func (r requirements) needs() job.Needs {
	var all job.Needs
	for _, q := range r {
		all = all.Or(q.needs())
	}
	return all
}

func (r requirements) met(j *job.Job) bool {
	for _, q := range r {
		if !q.met(j) {
			return false
		}
	}
	return true
}

// unmet has one clause for each requirement that the job does not meet.
func (r requirements) unmet(j *job.Job) string {
	var clauses []string
	for _, q := range r {
		if !q.met(j) {
			clauses = append(clauses, q.unmet(j))
		}
	}
	return strings.Join(clauses, "; ")
}

// tryAgain ends a clause about a fact that could not be asked for and may be later.
const tryAgain = "jobgate could not ask GitLab for it just now; try again in a few seconds"

// unknown says why a fact is not known.
func unknown(why string) string {
	if why == "" {
		return tryAgain
	}
	return Printable(why, maxHint)
}

// NoBlank refuses the entries of a list that are nothing but space.
func NoBlank(entries []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, entry := range entries {
		if isBlank(entry) {
			errs = append(errs, field.Invalid(path.Index(i), entry, "must not be blank"))
		}
	}
	return errs
}

// words refuses the entries of a list that cannot be GitLab's names of something, which are one word.
func words(entries []string, path *field.Path, example string) field.ErrorList {
	errs := NoBlank(entries, path)
	for i, entry := range entries {
		if !isBlank(entry) && strings.Trim(entry, "abcdefghijklmnopqrstuvwxyz_") != "" {
			errs = append(errs, field.Invalid(path.Index(i), entry, "must be lower-case letters and underscores, as in "+example))
		}
	}
	return errs
}

// hasAny says whether a list about a job is known and has any of the wanted entries.
func hasAny[T comparable](list job.Fact[[]T], wanted []T) bool {
	return list.Known && slices.ContainsFunc(list.Value, func(entry T) bool { return slices.Contains(wanted, entry) })
}
