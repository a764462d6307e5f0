package binaries

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// module writes a Go module with one main package and returns a program to build from it.
func module(t *testing.T, source string) program {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.com/hello\n\ngo 1.26\n", "main.go": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return program{name: "hello", dir: dir, pkg: ".", output: filepath.Join(dir, "out", "hello"), keep: true}
}

func TestBuild_LeavesTheProgramAndNothingElse(t *testing.T) {
	p := module(t, "package main\n\nfunc main() {}\n")
	if err := p.build(t.Context(), io.Discard); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, filepath.Dir(p.output), "hello")
}

func TestBuild_FailureNamesTheMistakeAndLeavesNothing(t *testing.T) {
	p := module(t, "package main\n\nfunc main() { undeclared() }\n")
	var progress strings.Builder
	err := p.build(t.Context(), &progress)
	if err == nil || !strings.Contains(err.Error(), "undefined: undeclared") {
		t.Errorf("error %v, want the compiler's", err)
	}
	if !strings.Contains(progress.String(), "build hello failed") {
		t.Errorf("progress does not tell of the failure: %q", progress.String())
	}
	wantFiles(t, filepath.Dir(p.output))
}

// A kept program is used again only if a new one would be built from the same.
func TestPlan_KeepsWhatIsBuiltFromOtherVersionsApart(t *testing.T) {
	base := versions{root: "/r", e2e: "/r/e2e", kubernetes: "v1.36.3", chosen: "v1.36.3", etcd: "v3.6.8", goVersion: "go1.26.8"}
	tests := []struct {
		name   string
		change func(*versions)
	}{
		{"Kubernetes", func(v *versions) { v.kubernetes, v.chosen = "v1.36.4", "v1.36.4" }},
		{"etcd", func(v *versions) { v.etcd = "v3.6.9" }},
		{"Go", func(v *versions) { v.goVersion = "go1.26.9" }},
	}
	before, _ := plan(base, true)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			changed := base
			test.change(&changed)
			after, _ := plan(changed, true)
			if before.APIServer == after.APIServer || before.Etcd == after.Etcd {
				t.Errorf("the same files for other versions: %s, %s", after.APIServer, after.Etcd)
			}
		})
	}
}

func TestPlan_AnOlderKubernetesIsTheAPIServerAndKubectl(t *testing.T) {
	v := versions{root: "/r", e2e: "/r/e2e", kubernetes: "v1.36.3", chosen: "v1.36.3", etcd: "v3.6.8", goVersion: "go1.26.8"}
	newest, _ := plan(v, true)
	v.chosen = "v1.32.13"
	older, _ := plan(v, true)
	if older.APIServer == newest.APIServer || older.Kubectl == newest.Kubectl || older.Kubernetes != "v1.32.13" {
		t.Errorf("version %s: %s, %s", older.Kubernetes, older.APIServer, older.Kubectl)
	}
	if older.ControllerManager != newest.ControllerManager || older.Kubeadm != newest.Kubeadm || older.Etcd != newest.Etcd {
		t.Errorf("other programs are exchanged, too: %+v", older)
	}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("files %v, want %v", got, want)
	}
}
