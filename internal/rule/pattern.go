// Package rule holds the rules that jobgate reads in more than one place: what a pattern matches, which environment a
// job is proven to be in, and what an agent's ci_access entry leaves to be checked.
//
// Everything here is pure: values in, a verdict with its reason out, nothing kept and nobody asked. It must not know
// where a fact about a job came from, nor Kubernetes; it imports nothing of jobgate.
package rule

import "strings"

// Pattern is a pattern for a whole name, compiled. "*" matches any run of characters, the empty one included; everything
// else is literal, and upper and lower case differ. A blank pattern matches nothing, and so does the zero Pattern.
//
// GitLab's own matcher (lib/gitlab/ci/environment_matcher.rb) reads a pattern with "*" as a regular expression that is
// neither anchored nor escaped: prod* lets preprod in there, and not here.
type Pattern struct {
	text    string // empty for a blank pattern
	ownSlug bool
}

// Compile reads a pattern. Any text is one.
func Compile(text string) Pattern {
	if isBlank(text) {
		return Pattern{}
	}
	return Pattern{text: text, ownSlug: Slug(text) == text}
}

// CompileAll reads a list of patterns.
func CompileAll(texts []string) []Pattern {
	patterns := make([]Pattern, 0, len(texts))
	for _, text := range texts {
		patterns = append(patterns, Compile(text))
	}
	return patterns
}

// Match says whether the pattern matches the whole name. The empty name is no name, and nothing matches it.
func (p Pattern) Match(name string) bool { return matches(p.text, name) }

// MatchAny says whether any of the patterns matches the whole name.
func MatchAny(patterns []Pattern, name string) bool {
	for i := range patterns {
		if patterns[i].Match(name) {
			return true
		}
	}
	return false
}

// NeedsName says whether only an environment's full name can prove that it is one the pattern means. A pattern that is
// its own slug is also proven by an equal slug, "*" by there being an environment, and a blank pattern by nothing.
func (p Pattern) NeedsName() bool { return p.text != "" && !p.ownSlug && !p.matchesAll() }

func (p Pattern) matchesAll() bool { return p.text != "" && strings.Trim(p.text, "*") == "" }

// isBlank is what Rails' blank? says of a string.
func isBlank(text string) bool { return strings.TrimSpace(text) == "" }

// matches takes time proportional to the name's length, whatever the pattern: the text before the first "*" must begin
// the name, the text after the last must end what is left, and each one between is looked for where the one before it
// ended. Its leftmost place will do, for that leaves most to the rest.
func matches(pattern, name string) bool {
	if name == "" || pattern == "" {
		return false
	}
	literal, pattern, more := strings.Cut(pattern, "*")
	if !more {
		return literal == name
	}
	name, found := strings.CutPrefix(name, literal)
	if !found {
		return false
	}
	for {
		literal, pattern, more = strings.Cut(pattern, "*")
		if !more {
			return strings.HasSuffix(name, literal)
		}
		at := strings.Index(name, literal)
		if at < 0 {
			return false
		}
		name = name[at+len(literal):]
	}
}
