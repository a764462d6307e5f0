package gitlabtest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const tunnel = "https://kas.gitlab.example.com/k8s-proxy/"

func TestKubeconfig_HasAContextPerAgent(t *testing.T) {
	w := example("ci_access: {projects: [{id: group1/group1-1/project1, default_namespace: web}]}")
	w.Agents = append(w.Agents, gitlabtest.Agent{ID: 43, Name: "own", Project: project},
		gitlabtest.Agent{ID: 44, Name: "closed", Project: agentProject})
	w.Jobs[0].Token = "glcbt-64_AbCdEfGhIjKlMnOpQrSt"
	got, err := startInstance(t, w).Kubeconfig(job, tunnel)
	if err != nil {
		t.Fatal(err)
	}
	want := `---
apiVersion: v1
kind: Config
clusters:
- name: gitlab
  cluster:
    server: https://kas.gitlab.example.com/k8s-proxy/
users:
- name: agent:4
  user:
    token: ci:4:glcbt-64_AbCdEfGhIjKlMnOpQrSt
- name: agent:43
  user:
    token: ci:43:glcbt-64_AbCdEfGhIjKlMnOpQrSt
contexts:
- name: group1/agents:prod-agent
  context:
    cluster: gitlab
    namespace: web
    user: agent:4
- name: group1/group1-1/project1:own
  context:
    cluster: gitlab
    user: agent:43
`
	if diff := cmp.Diff(fromYAML(t, []byte(want)), fromYAML(t, got)); diff != "" {
		t.Error(diff)
	}
}

func fromYAML(t *testing.T, document []byte) any {
	t.Helper()
	var value any
	if err := yaml.UnmarshalStrict(document, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestKubeconfig_IsNotSetWithoutAgents(t *testing.T) {
	tests := []struct{ name, config string }{
		{"nothing configured", ""},
		{"another environment", entry("groups", "group1", ", environments: [staging]")},
		{"another project", entry("projects", "group1/agents", "")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := startInstance(t, example(test.config)).Kubeconfig(job, tunnel)
			if !errors.Is(err, gitlabtest.ErrNoKubeconfig) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestKubeconfig_NeedsAJobAndSoundPatterns(t *testing.T) {
	g := startInstance(t, example(entry("groups", "group1", ", environments: ['a(b*']")))
	if _, err := g.Kubeconfig(1, tunnel); !errors.Is(err, gitlabtest.ErrNoJob) {
		t.Errorf("of no job: %v", err)
	}
	if _, err := g.Kubeconfig(job, tunnel); err == nil || errors.Is(err, gitlabtest.ErrNoKubeconfig) {
		t.Errorf("with a broken pattern: %v", err)
	}
}
