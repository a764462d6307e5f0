package policy_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/policy"
)

func TestMatch(t *testing.T) {
	rows := []struct {
		name, pattern, text string
		want                bool
	}{
		{"literal", "production", "production", true},
		{"literal in another case", "production", "Production", false},
		{"literal that is only a part", "prod", "production", false},
		{"literal that is more", "production", "prod", false},
		{"prefix", "prod*", "production", true},
		{"prefix itself", "prod*", "prod", true},
		{"prefix is anchored, unlike GitLab's", "prod*", "preprod", false},
		{"suffix", "*-prod", "eu-prod", true},
		{"suffix is anchored, unlike GitLab's", "*-prod", "eu-prod-canary", false},
		{"folder", "review/*", "review/fix-foo", true},
		{"folder is anchored, unlike GitLab's", "review/*", "my-review/1", false},
		{"folder across slashes", "review/*", "review/a/b", true},
		{"folder that is empty", "review/*", "review/", true},
		{"folder without its slash", "review/*", "review", false},
		{"two stars", "review/*/*", "review/123/456", true},
		{"two stars, one part", "review/*/*", "review/123", false},
		{"stars at both ends", "*prod*", "eu-prod-1", true},
		{"all", "*", "anything/at all", true},
		{"all, more than once", "***", "x", true},
		{"the leftmost place is the wrong one for the end", "a*ab", "aab", true},
		{"text may not be used twice", "ab*ba", "aba", false},
		{"parts in the wrong order", "*b*a*", "ab", false},
		{"a dot is a dot, unlike GitLab's", "v1.2/*", "v1x2/a", false},
		{"a bar is a bar, unlike GitLab's", "prod|*", "staging", false},
		{"a plus is a plus, unlike GitLab's", "a+b*", "a+b", true},
		{"what would be no regular expression", "a(b*", "a(b)c", true},
		{"a question mark is one", "a?c", "abc", false},
		{"no name, all", "*", "", false},
		{"no name, no pattern", "", "", false},
		{"no name, blank pattern", " ", "", false},
		{"empty pattern", "", "production", false},
		{"blank pattern matches not even itself", " ", " ", false},
		{"wide blank pattern", "\t\u3000", "\t\u3000", false},
		{"beyond ASCII", "größe/*", "größe/ß", true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := policy.Match(row.pattern, row.text); got != row.want {
				t.Errorf("%q matches %q: %t, want %t", row.pattern, row.text, got, row.want)
			}
			if got := policy.MatchAny([]string{"no-such", "", row.pattern}, row.text); got != row.want {
				t.Errorf("a list with %q matches %q: %t, want %t", row.pattern, row.text, got, row.want)
			}
		})
	}
}

// naive is the rule word by word: a star is nothing, or any character and then a star; everything else is itself.
func naive(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return naive(pattern[1:], name) || (name != "" && naive(pattern, name[1:]))
	}
	return name != "" && pattern[0] == name[0] && naive(pattern[1:], name[1:])
}

func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"prod*", "preprod"}, {"a*ab", "aab"}, {"ab*ba", "aba"}, {"*a*a*", "aba"}, {"*", ""}, {"", ""}, {" ", " "}, {"a*", "a"},
		{"*a*b", "ab"}, {"a**b", "axb"}, {"**", "x"}, {"a*b*c", "abcbc"}, {"é*", "é\xff"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 24 || len(name) > 24 || strings.Count(pattern, "*") > 6 {
			return // the naive matcher takes time exponential in the stars
		}
		want := name != "" && strings.TrimSpace(pattern) != "" && naive(pattern, name)
		if got := policy.Match(pattern, name); got != want {
			t.Errorf("%q matches %q: %t, want %t", pattern, name, got, want)
		}
	})
}

// Every pattern and every name of up to five characters from a small alphabet: what fuzzing finds by chance, this finds
// for certain.
func TestMatch_AgreesWithTheNaiveMatcherOnEverySmallCase(t *testing.T) {
	patterns, names := words("ab*", 5), words("ab", 6)
	for _, pattern := range patterns {
		for _, name := range names {
			if got, want := policy.Match(pattern, name), name != "" && pattern != "" && naive(pattern, name); got != want {
				t.Fatalf("%q matches %q: %t, want %t", pattern, name, got, want)
			}
		}
	}
}

// words are all words over an alphabet up to a length.
func words(alphabet string, longest int) []string {
	all, last := []string{""}, []string{""}
	for range longest {
		var next []string
		for _, w := range last {
			for _, c := range alphabet {
				next = append(next, w+string(c))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// A matcher that tries again at every star would need more steps here than there are atoms; and nothing is allocated.
func TestMatch_TakesLinearTimeAndNoMemory(t *testing.T) {
	pattern, name := strings.Repeat("a*", 200)+"b", strings.Repeat("a", 4096)
	if got := testing.AllocsPerRun(10, func() {
		if policy.Match(pattern, name) {
			t.Error("a name without b matches a pattern that ends in it")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func BenchmarkMatch_Wildcards(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !policy.Match("review/*/feature-*-eu", "review/team-a/feature-1234-some-long-name-eu") {
			b.Fatal("no match")
		}
	}
}
