package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

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

// The page's grants are ones that jobgate takes, without any agent.
func TestDocs_GrantsAreValid(t *testing.T) {
	const rest = "apiVersion: jobgate.io/v1alpha1\nkind: Configuration\ngitlab: {url: https://gitlab.example.com}\n" +
		"serving: {certFile: tls.pem, keyFile: tls.pem}\n"
	c, err := config.Parse("policies.md", []byte(rest+block(t, root+"docs/policies.md", "yaml grants")))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Grants) != 2 || len(c.Warnings) > 0 {
		t.Errorf("there are %d grants, with the warnings %v", len(c.Grants), c.Warnings)
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
			"refs": len(q.Refs), "refTypes": len(q.RefTypes), "pipelineSources": len(q.PipelineSources),
			"projects": len(q.Projects), "groups": len(q.Groups), "roles": len(q.Roles),
		} {
			if n == 0 {
				t.Errorf("%s is not shown", key)
			}
		}
	}
	if len(c.Restrictions) != 1 || !bool(c.Restrictions[0].Require.ProtectedRef) || !bool(c.Restrictions[0].Require.EnvironmentProtected) {
		t.Error("there is not one restriction with a protected ref and environment")
	}
}

// What a page shows as a part of the configuration file is valid with the least that has to stand beside it.
func TestDocs_PartsOfTheConfigurationAreValid(t *testing.T) {
	const least = `{"apiVersion": "jobgate.io/v1alpha1", "kind": "Configuration", "agents": [{"id": 4}],
		"gitlab": {"url": "https://gitlab.example.com"}, "serving": {"certFile": "tls.pem", "keyFile": "tls.pem"}}`
	pages, err := filepath.Glob(root + "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		for _, m := range fence.FindAllStringSubmatch(readPage(t, page), -1) {
			if m[1] != "yaml part" {
				continue
			}
			found++
			whole := map[string]any{}
			if err := yaml.Unmarshal([]byte(least), &whole); err != nil {
				t.Fatal(err)
			}
			if err := yaml.Unmarshal([]byte(m[2]), &whole); err != nil {
				t.Fatalf("%s: %v\n%s", page, err, m[2])
			}
			text, err := yaml.Marshal(whole)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := config.Parse(page, text); err != nil {
				t.Errorf("%v\n%s", err, m[2])
			}
		}
	}
	if found == 0 {
		t.Error("no page shows a part")
	}
}
