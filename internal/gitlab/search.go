package gitlab

import (
	"slices"
	"strings"
)

const (
	// minSearch is the shortest text that GitLab searches environments for, in characters.
	minSearch = 3
	// maxSearches bounds the searches of one question. Beyond, one listing of all environments is less work.
	maxSearches = 5
	// slugStem is how much of a name its slug repeats (lib/gitlab/slug/environment.rb), slugSuffix the length of the dash
	// and the digits behind it.
	slugStem   = 17
	slugSuffix = 7
)

// prefixes are the texts that the names which the patterns match begin with, none of which begins with another. GitLab's
// search finds the beginning of a name, whatever its case. The empty text finds every name.
func prefixes(patterns []string) []string {
	if len(patterns) == 0 {
		return []string{""} // any name
	}
	var all []string
	for _, pattern := range patterns {
		prefix, _, _ := strings.Cut(pattern, "*")
		if strings.TrimSpace(pattern) == "" || len(prefix) > maxName {
			continue // matches nothing
		}
		if len([]rune(prefix)) < minSearch {
			return []string{""}
		}
		all = append(all, prefix)
	}
	slices.Sort(all)
	var shortest []string
	for _, prefix := range all {
		if len(shortest) == 0 || !strings.HasPrefix(prefix, shortest[len(shortest)-1]) {
			shortest = append(shortest, prefix)
		}
	}
	if len(shortest) > maxSearches {
		return []string{""}
	}
	return shortest
}

// guesses are longer searches that find the environment in one page where its name has no other separator than dashes
// behind the prefix: review/ and the slug review-fix-foo-v25cyx make review/fix-foo. A wrong guess finds nothing.
func guesses(prefixes []string, slug string) []string {
	var all []string
	stem := slug[:min(len(slug), slugStem)]
	if len(slug) > slugSuffix {
		stem = slug[:min(slugStem, len(slug)-slugSuffix)]
	}
	stem = strings.TrimRight(stem, "-")
	for _, prefix := range prefixes {
		if rest, ok := cutSlug(stem, strings.ToLower(prefix)); ok && rest != "" {
			all = append(all, prefix+rest)
		}
	}
	return all
}

// cutSlug cuts from the slug what the prefix makes of it: letters and digits stay, a run of other characters is a dash.
func cutSlug(slug, prefix string) (rest string, ok bool) {
	dashed := false
	for _, c := range prefix {
		isPlain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !isPlain && dashed {
			continue
		}
		dashed = !isPlain
		if isPlain && strings.HasPrefix(slug, string(c)) || !isPlain && strings.HasPrefix(slug, "-") {
			slug = slug[1:]
			continue
		}
		return "", false
	}
	return slug, prefix != ""
}
