package gitlabtest

import (
	"crypto/sha256"
	"math/big"
	"regexp"
	"strings"
)

// maxSlug is the longest environment slug, which has to fit into DNS labels with a prefix and a suffix.
const maxSlug = 24

// environmentSlug is the slug GitLab gives a new environment of this name (lib/gitlab/slug/environment.rb).
func environmentSlug(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			c = '-'
		}
		b.WriteRune(c)
	}
	slug := b.String()
	if slug == "" || slug[0] < 'a' || slug[0] > 'z' {
		slug = "env-" + slug
	}
	slug = squeezeDashes(slug)
	if len(slug) > maxSlug || slug != name {
		return shortenedSlug(slug, name)
	}
	return strings.TrimSuffix(slug, "-")
}

func squeezeDashes(s string) string {
	for strings.Contains(s, "--") {
		s = strings.ReplaceAll(s, "--", "-")
	}
	return s
}

// shortenedSlug keeps names that differ from their slug apart by a suffix: the last six base-36 digits of the name's
// SHA-256.
func shortenedSlug(slug, name string) string {
	const kept, suffix = maxSlug - 7, 6
	slug = slug[:min(kept, len(slug))]
	if !strings.HasSuffix(slug, "-") {
		slug += "-"
	}
	sum := sha256.Sum256([]byte(name))
	digits := new(big.Int).SetBytes(sum[:]).Text(36)
	return slug + digits[max(0, len(digits)-suffix):]
}

// tierPatterns are tried in order (Environment#guess_tier, app/models/environment.rb).
var tierPatterns = []struct {
	tier string
	name *regexp.Regexp
}{
	{"development", regexp.MustCompile(`(?i)(dev|review|trunk)`)},
	{"testing", regexp.MustCompile(`(?i)(test|tst|int|ac(ce|)pt|qa|qc|control|quality)`)},
	{"staging", regexp.MustCompile(`(?i)(st(a|)g|mod(e|)l|pre|demo|non)`)},
	{"production", regexp.MustCompile(`(?i)(pr(o|)d|live)`)},
}

// environmentTier is the tier GitLab guesses for an environment whose job gave none.
func environmentTier(name string) string {
	for _, p := range tierPatterns {
		if p.name.MatchString(name) {
			return p.tier
		}
	}
	return "other"
}
