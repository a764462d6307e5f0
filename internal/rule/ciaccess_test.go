package rule_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/rule"
)

// The four rows of GitLab's matrix (no list, match, mismatch, no environment), and what jobgate adds to it.
func TestCIAccess_Environments(t *testing.T) {
	named := func(slug, name string) rule.Environment { return rule.Environment{Slug: slug, Name: name} }
	rows := []struct {
		name        string
		list        []string
		environment rule.Environment
		refused     string // a part of the refusal; empty: satisfied
	}{
		{"no list, no environment", nil, named("", ""), ""},
		{"no list, an environment", nil, named("staging", "staging"), ""},
		{"empty list, no environment", []string{}, named("", ""), ""},
		{"match", []string{"production"}, named("production", "production"), ""},
		{"match, name not known", []string{"production"}, named("production", ""), ""},
		{"mismatch with a wildcard in the list", []string{"production", "review/*"}, named("staging", "staging"), `the job's is "staging"`},
		{"no environment", []string{"production"}, named("", ""), "the job has none"},
		{"no environment, any is allowed", []string{"*"}, named("", ""), "the job has none"},

		{"folder", []string{"review/*"}, named("review-1-x", "review/1"), ""},
		{"folder, unanchored in GitLab", []string{"review/*"}, named("my-review-1-x", "my-review/1"), `"my-review/1"`},
		{"any", []string{"*"}, named("x", "x"), ""},
		{"any, name not known", []string{"*"}, named("x", ""), ""},
		{"prefix, unanchored in GitLab", []string{"prod*"}, named("preprod", "preprod"), `"preprod"`},
		{"prefix, name not known: GitLab's answer stands", []string{"prod*"}, named("preprod", ""), ""},
		{"an exact entry beside a wildcard", []string{"review/*", "preprod"}, named("preprod", "preprod"), ""},
		{"an exact entry with a slash beside a wildcard", []string{"review/*", "eu/prod"}, named("eu-prod-lb01nz", "eu/prod"), ""},
		{"called like the slug of the exact entry", []string{"review/*", "eu/prod"}, named("eu-prod-lb01nz", "eu-prod-lb01nz"), `"eu-prod-lb01nz"`},

		{"GitLab's exact match stands", []string{"production"}, named("staging", "staging"), ""},
		{"blank entry, no environment", []string{""}, named("", ""), "the job has none"},
		{"blank entry beside a wildcard", []string{" ", "prod*"}, named("x", " "), "the job's is"},
		{"blank entry beside a wildcard that matches", []string{"", "prod*"}, named("prod", "prod"), ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			access := rule.CIAccess{Environments: row.list}
			refusal := access.Refusal(&rule.Job{Environment: row.environment})
			if (refusal == "") != (row.refused == "") || !strings.Contains(refusal, row.refused) {
				t.Errorf("refusal is %q, want %q in it", refusal, row.refused)
			}
			if refusal != "" && !access.Asks() {
				t.Error("an entry that asks for nothing refuses")
			}
		})
	}
}

func TestCIAccess_ProtectedBranchesOnly(t *testing.T) {
	rows := []struct {
		name    string
		access  rule.CIAccess
		job     rule.Job
		refused string
	}{
		{"not asked for", rule.CIAccess{}, rule.Job{RefUnprotected: true}, ""},
		{"vouched for by GitLab", rule.CIAccess{ProtectedBranchesOnly: true, ProtectionVouched: true}, rule.Job{}, ""},
		{"vouched for by GitLab, which knows better", rule.CIAccess{ProtectedBranchesOnly: true, ProtectionVouched: true},
			rule.Job{RefUnprotected: true}, ""},
		{"protected", rule.CIAccess{ProtectedBranchesOnly: true}, rule.Job{RefProtected: true}, ""},
		{"not protected", rule.CIAccess{ProtectedBranchesOnly: true}, rule.Job{Ref: "feature", RefUnprotected: true},
			`the ref "feature" is not protected`},
		{"not protected, ref not known", rule.CIAccess{ProtectedBranchesOnly: true}, rule.Job{RefUnprotected: true},
			"the job's ref is not protected"},
		{"not known", rule.CIAccess{ProtectedBranchesOnly: true}, rule.Job{Ref: "v1"}, "tokenFile"},
		{"not known, with the learner's hint", rule.CIAccess{ProtectedBranchesOnly: true},
			rule.Job{ProtectionUnknown: "a job token may not read tags"}, "learnt: a job token may not read tags"},
		{"environment first", rule.CIAccess{ProtectedBranchesOnly: true, Environments: []string{"production"}}, rule.Job{},
			"the job has none"},
		{"environment satisfied, ref not", rule.CIAccess{ProtectedBranchesOnly: true, Environments: []string{"production"}},
			rule.Job{Environment: rule.Environment{Slug: "production"}, RefUnprotected: true}, "not protected"},
		{"both satisfied", rule.CIAccess{ProtectedBranchesOnly: true, Environments: []string{"production"}},
			rule.Job{Environment: rule.Environment{Slug: "production"}, RefProtected: true}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			refusal := row.access.Refusal(&row.job)
			if (refusal == "") != (row.refused == "") || !strings.Contains(refusal, row.refused) {
				t.Errorf("refusal is %q, want %q in it", refusal, row.refused)
			}
			if refusal != "" && !row.access.Asks() {
				t.Error("an entry that asks for nothing refuses")
			}
		})
	}
}

func TestCIAccess_SaysWhichFactsItNeeds(t *testing.T) {
	rows := []struct {
		name                      string
		access                    rule.CIAccess
		asks, fullName, protected bool
	}{
		{"nothing", rule.CIAccess{}, false, false, false},
		{"exact environments", rule.CIAccess{Environments: []string{"production", "eu/prod"}}, true, false, false},
		{"a wildcard", rule.CIAccess{Environments: []string{"production", "review/*"}}, true, true, false},
		{"a blank entry", rule.CIAccess{Environments: []string{""}}, true, false, false},
		{"protected refs, vouched for", rule.CIAccess{ProtectedBranchesOnly: true, ProtectionVouched: true}, false, false, false},
		{"protected refs", rule.CIAccess{ProtectedBranchesOnly: true}, true, false, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := [3]bool{row.access.Asks(), row.access.NeedsEnvironmentName(), row.access.NeedsProtection()}
			if want := [3]bool{row.asks, row.fullName, row.protected}; got != want {
				t.Errorf("asks, needs the name, needs the protection: %v, want %v", got, want)
			}
		})
	}
}

func TestCIAccess_RefusalRepeatsNothingUnescapedOrUnbounded(t *testing.T) {
	hostile := "\x1b[31m\n\"" + strings.Repeat("x", 5000)
	access := rule.CIAccess{Environments: []string{hostile, "*" + hostile, "a", "b", "c", "d"}, ProtectedBranchesOnly: true}
	jobs := map[string]rule.Job{
		"no environment":      {},
		"another environment": {Environment: rule.Environment{Slug: "s", Name: hostile}},
		"unprotected ref":     {Environment: rule.Environment{Slug: "s"}, Ref: hostile, RefUnprotected: true},
		"hint":                {Environment: rule.Environment{Slug: "s"}, Ref: hostile, ProtectionUnknown: hostile},
	}
	for name, j := range jobs {
		t.Run(name, func(t *testing.T) {
			refusal := access.Refusal(&j)
			if refusal == "" || len(refusal) > 1000 {
				t.Errorf("the refusal has %d bytes: %s", len(refusal), refusal)
			}
			if strings.ContainsAny(refusal, "\x1b\n") {
				t.Errorf("the refusal has control characters: %q", refusal)
			}
		})
	}
}

func TestCIAccess_SatisfiedEntryAllocatesNothing(t *testing.T) {
	access := rule.CIAccess{Environments: []string{"staging", "eu/*"}, ProtectedBranchesOnly: true}
	j := &rule.Job{Environment: rule.Environment{Slug: "eu-prod-lb01nz", Name: "eu/prod"}, RefProtected: true}
	if got := testing.AllocsPerRun(100, func() {
		if access.Refusal(j) != "" {
			t.Error("refused")
		}
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}
