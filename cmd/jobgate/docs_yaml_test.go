package main

import (
	"os"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
)

// A page's copy of a file is a copy, comments at the start of a line aside where the page has none.
func TestDocs_CopiesAreCopies(t *testing.T) {
	for _, row := range []struct {
		name, page, kind, file string
		uncommented            bool
	}{
		{"README's RoleBinding", "README.md", "yaml rbac", "manifests/rbac/deploy-from-prod.yaml", true},
		{"the whole configuration", "docs/configuration.md", "yaml documented", "internal/config/testdata/documented.yaml", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			text, err := os.ReadFile(root + row.file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(text)
			if row.uncommented {
				want = regexp.MustCompile(`(?m)^ *#.*\n`).ReplaceAllString(want, "")
			}
			if diff := cmp.Diff(want, block(t, root+row.page, row.kind)); diff != "" {
				t.Errorf("%s and %s differ (-file +page):\n%s", row.file, row.page, diff)
			}
		})
	}
}

// The page's restriction is one that jobgate takes, with every key that there is.
func TestDocs_RestrictionIsValidAndComplete(t *testing.T) {
	const rest = "apiVersion: jobgate.io/v1alpha1\nkind: Configuration\ngitlab: {url: https://gitlab.example.com}\nagents: [{id: 4}]\n" +
		"serving: {certFile: tls.pem, keyFile: tls.pem}\n"
	c, err := config.Parse("policies.md", []byte(rest+block(t, root+"docs/policies.md", "yaml restrictions")))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range c.Restrictions {
		q := r.Require
		for key, n := range map[string]int{
			"agents": len(r.Agents), "namespaces": len(r.Namespaces), "verbs": len(r.Verbs), "apiGroups": len(r.APIGroups),
			"resources": len(r.Resources), "environments": len(q.Environments), "environmentTiers": len(q.EnvironmentTiers),
			"projects": len(q.Projects), "groups": len(q.Groups), "roles": len(q.Roles),
		} {
			if n == 0 {
				t.Errorf("%s is not shown", key)
			}
		}
	}
	if len(c.Restrictions) != 1 || !c.Restrictions[0].Require.ProtectedRef {
		t.Error("there is not one restriction with a protected ref")
	}
}
