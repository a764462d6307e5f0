package job

import (
	"crypto/sha256"
	"math/big"
	"strings"
)

// The lengths of an environment's slug, in bytes (lib/gitlab/slug/environment.rb).
const (
	maxSlug     = 24
	slugStem    = 17 // what is kept of a name before its suffix
	slugSuffix  = 6
	slugLetters = 36 // the suffix counts in 0-9 and a-z
)

// Slug is the slug that GitLab gives a new environment of this name (lib/gitlab/slug/environment.rb). A name that is not
// already fit for a DNS label is told apart by a suffix made of its SHA-256.
//
// An equal slug does not quite prove an equal name: production- has the slug production, and a name can be made up for a
// slug that looks like one with a suffix. Older releases of GitLab made slugs in another way and keep them.
func Slug(name string) string {
	slug := slugify(name)
	if slug == name && len(slug) <= maxSlug {
		return strings.TrimSuffix(slug, "-")
	}
	if len(slug) > slugStem {
		slug = slug[:slugStem]
	}
	return strings.TrimSuffix(slug, "-") + "-" + suffix(name)
}

// slugify turns each character other than a letter or digit of ASCII into a dash, and runs of dashes into one. The
// result begins with a letter.
func slugify(name string) string {
	var b strings.Builder
	dash := false
	add := func(c rune) {
		isDash := !isLetter(c) && (c < '0' || c > '9')
		switch {
		case !isDash:
			b.WriteRune(c)
		case !dash:
			b.WriteByte('-')
		}
		dash = isDash
	}
	lower := strings.ToLower(name)
	if lower == "" || !isLetter(rune(lower[0])) {
		for _, c := range "env-" {
			add(c)
		}
	}
	for _, c := range lower {
		add(c)
	}
	return b.String()
}

func isLetter(c rune) bool { return c >= 'a' && c <= 'z' }

func suffix(name string) string {
	sum := sha256.Sum256([]byte(name))
	digits := new(big.Int).SetBytes(sum[:]).Text(slugLetters)
	return digits[max(0, len(digits)-slugSuffix):]
}
