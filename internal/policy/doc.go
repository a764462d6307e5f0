// Package policy holds the rules, as pure functions: values in, a verdict with its reason out. It knows what a pattern
// matches, what a restriction, a grant, a blocked list and an agent's ci_access entry ask of a job, and how a reason
// reads. It must not know where a fact about a job came from, what a request's user looks like, nor how GitLab is asked.
//
// A requirement is one file: its key in the configuration, its validation, the facts it needs, whether a job meets it,
// and the clause of the message when not. Judging, explaining, validation, the needed facts and the configuration
// reference walk the fields of Requirements, so that is the one list of them.
package policy
