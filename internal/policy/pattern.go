package policy

import "strings"

// Match says whether a pattern matches a whole name. "*" matches any run of characters, the empty one included;
// everything else is literal, and upper and lower case differ. A blank pattern matches nothing, and nothing matches the
// empty name, which is none.
//
// GitLab's own matcher (lib/gitlab/ci/environment_matcher.rb) reads a pattern with "*" as a regular expression that is
// neither anchored nor escaped: prod* lets preprod in there, and not here.
//
// It takes time proportional to the name's length, whatever the pattern: the text before the first "*" must begin the
// name, the text after the last must end what is left, and each one between is looked for where the one before it ended.
// Its leftmost place is enough, since that leaves most to the rest.
func Match(pattern, name string) bool {
	if name == "" {
		return false
	}
	literal, pattern, more := strings.Cut(pattern, "*")
	if !more {
		return literal == name && !isBlank(name)
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

// MatchAny says whether any of the patterns matches the whole name.
func MatchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return false
}

// matchesEverything says whether the pattern is nothing but stars.
func matchesEverything(pattern string) bool { return pattern != "" && strings.Trim(pattern, "*") == "" }

func hasWildcard(patterns []string) bool {
	for _, p := range patterns {
		if strings.Contains(p, "*") {
			return true
		}
	}
	return false
}

// isBlank is what Rails' blank? says of a string.
func isBlank(text string) bool { return strings.TrimSpace(text) == "" }
