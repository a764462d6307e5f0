package rule_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/rule"
)

func TestProve(t *testing.T) {
	rows := []struct {
		name        string
		patterns    []string
		environment rule.Environment
		want        rule.Proof
	}{
		{"own slug, equal slug", []string{"production"}, rule.Environment{Slug: "production"}, rule.Proven},
		{"own slug, another slug", []string{"production"}, rule.Environment{Slug: "staging"}, rule.Disproven},
		{"own slug, slug of a name that only begins alike", []string{"prod"}, rule.Environment{Slug: "prod-eu-vbpl9e"}, rule.Disproven},
		{"second of two", []string{"production", "staging"}, rule.Environment{Slug: "staging"}, rule.Proven},
		{"the slug of the pattern is no proof", []string{"eu/prod"}, rule.Environment{Slug: "eu-prod-lb01nz"}, rule.NameMissing},
		{"an environment that is called like the slug", []string{"eu/prod"},
			rule.Environment{Slug: "eu-prod-lb01nz", Name: "eu-prod-lb01nz"}, rule.Disproven},
		{"the right name", []string{"eu/prod"}, rule.Environment{Slug: "eu-prod-lb01nz", Name: "eu/prod"}, rule.Proven},
		{"a name that is known goes before its slug", []string{"production"},
			rule.Environment{Slug: "production", Name: "production-"}, rule.Disproven},
		{"wildcard, name known", []string{"prod/*"}, rule.Environment{Slug: "prod-eu-x", Name: "prod/eu"}, rule.Proven},
		{"wildcard, other name", []string{"prod*"}, rule.Environment{Slug: "preprod", Name: "preprod"}, rule.Disproven},
		{"wildcard, name not known", []string{"prod*"}, rule.Environment{Slug: "production"}, rule.NameMissing},
		{"wildcard and own slug, name not known", []string{"prod/*", "production"}, rule.Environment{Slug: "production"}, rule.Proven},
		{"own slug and wildcard, name not known, other slug", []string{"production", "prod/*"},
			rule.Environment{Slug: "prod-eu-x"}, rule.NameMissing},
		{"any, name not known", []string{"*"}, rule.Environment{Slug: "whatever"}, rule.Proven},
		{"any, no environment", []string{"*"}, rule.Environment{}, rule.Disproven},
		{"own slug, no environment", []string{"production"}, rule.Environment{}, rule.Disproven},
		{"a name without an environment is none", []string{"production"}, rule.Environment{Name: "production"}, rule.Disproven},
		{"blank", []string{"", " "}, rule.Environment{Slug: "production"}, rule.Disproven},
		{"blank besides", []string{" ", "production"}, rule.Environment{Slug: "production"}, rule.Proven},
		{"no patterns", nil, rule.Environment{Slug: "production", Name: "production"}, rule.Disproven},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			patterns := rule.CompileAll(row.patterns)
			if got := rule.Prove(patterns, row.environment); got != row.want {
				t.Errorf("proof is %d, want %d", got, row.want)
			}
			needs := false
			for _, p := range patterns {
				needs = needs || p.NeedsName()
			}
			if row.want == rule.NameMissing && !needs {
				t.Error("the name is missing, and no pattern says that it needs one")
			}
		})
	}
}
