package job_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/job"
)

func TestSlug(t *testing.T) {
	rows := []struct{ name, want string }{
		{"production", "production"},
		{"prod", "prod"},
		{"Production", "production-iis43c"},
		{"review/fix-foo", "review-fix-foo-v25cyx"},
		{"review/feature-1", "review-feature-1-1q251u"},
		{"1-foo", "env-1-foo-1k46wz"},
		{"eu/prod", "eu-prod-lb01nz"},
		{"prod_eu", "prod-eu-vbpl9e"},
		{"foo--bar", "foo-bar-q006cp"},
		{strings.Repeat("a", 24), strings.Repeat("a", 24)},
		{strings.Repeat("a", 25), "aaaaaaaaaaaaaaaaa-1n7uof"},
		{"eu-prod-lb01nz", "eu-prod-lb01nz"}, // what anyone can call an environment
		{"production-", "production"},        // and this
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := job.Slug(row.name); got != row.want {
				t.Errorf("slug is %q, want %q", got, row.want)
			}
		})
	}
}

var slugForm = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// FuzzSlug: every name has a slug that is a DNS label of at most 24 characters, and a slug has itself for its slug, so
// that a pattern that is its own slug is the common case and not an accident.
func FuzzSlug(f *testing.F) {
	for _, seed := range []string{"production", "eu/prod", "-", "", "1", "--", "production-", "Ä/ö", "\xff", strings.Repeat("a-", 20)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		slug := job.Slug(name)
		if !slugForm.MatchString(slug) || len(slug) > 24 {
			t.Errorf("the slug of %q is %q", name, slug)
		}
		if again := job.Slug(slug); again != slug {
			t.Errorf("the slug of %q is %q, and that one's is %q", name, slug, again)
		}
	})
}
