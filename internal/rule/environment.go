package rule

import "strings"

// Environment is what is known of a job's environment. The zero value is none.
type Environment struct {
	Slug string // not empty where there is an environment
	Name string // the full name; empty while it is not known
}

// Exists says whether the job has an environment at all.
func (e Environment) Exists() bool { return e.Slug != "" }

// String names the environment for a reason: by its name, or else by its slug.
func (e Environment) String() string {
	if e.Name == "" {
		return "slug " + Quote(e.Slug)
	}
	return Quote(e.Name)
}

// Proof is whether an environment is proven to be one that a list of patterns means.
type Proof int

// The zero value is no proof.
const (
	// Disproven: there is no environment, or its name matches none of the patterns.
	Disproven Proof = iota
	// NameMissing: only the environment's full name could tell, and it is not known.
	NameMissing
	// Proven: one of the patterns means this environment.
	Proven
)

// Prove says whether the environment is one that the patterns mean. A name that is known decides alone. Where it is not,
// a pattern that is its own slug (production) is proven by an equal slug; any other needs the name: the slug of eu/prod
// is eu-prod-lb01nz, and anyone can call an environment just that. "*" needs no name, as every environment has one.
func Prove(patterns []Pattern, e Environment) Proof {
	switch {
	case !e.Exists():
		return Disproven
	case e.Name != "" && MatchAny(patterns, e.Name):
		return Proven
	case e.Name != "":
		return Disproven
	}
	proof := Disproven
	for _, p := range patterns {
		if (p.ownSlug && p.text == e.Slug) || p.matchesAll() {
			return Proven
		}
		if p.NeedsName() {
			proof = NameMissing
		}
	}
	return proof
}

// hasWildcard says whether any of the patterns, as written, has a "*".
func hasWildcard(patterns []string) bool {
	for _, p := range patterns {
		if strings.Contains(p, "*") {
			return true
		}
	}
	return false
}
