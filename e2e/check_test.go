package e2e_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/findings"
)

// jobgate check finds nothing wrong with a real API server that asks jobgate, and says so of one that does not.
func TestCheck(t *testing.T) {
	set := site.Binaries()
	admin := admin(t)
	run := func(kubeconfig string) (list findings.List, exitCode int) {
		result, err := admin.Script(t.Context(), strings.Join([]string{
			set.Jobgate, "check", "--config=" + site.Jobgate.ConfigFile(), "--kubeconfig=" + kubeconfig, "--output=json",
		}, " "))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
			t.Fatalf("%v: %s", err, result)
		}
		return list, result.ExitCode
	}
	list, exitCode := run(admin.Kubeconfig)
	if exitCode != 0 {
		t.Errorf("the exit code is %d", exitCode)
	}
	for _, f := range list.Findings {
		if f.State == findings.Failure || f.State == findings.NotChecked {
			t.Errorf("%s: %s: %s %q", f.Name, f.State, f.What, f.Details)
		}
	}
	for name, part := range map[string]string{
		"apiserver": "jobgate comes before RBAC",
		"login":     "GitLab knows no running job with the token for agent ",
		"requests":  ": jobgate: ",
	} {
		if what := find(t, list, name).What; !strings.Contains(what, part) {
			t.Errorf("%s lacks %q: %s", name, part, what)
		}
	}

	// Nothing listens at that address.
	text, err := os.ReadFile(admin.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(other, []byte(strings.ReplaceAll(string(text), "https://127.0.0.1:", "https://127.0.0.2:")), 0o600); err != nil {
		t.Fatal(err)
	}
	list, exitCode = run(other)
	if exitCode != 1 || find(t, list, "login").State != findings.Failure || find(t, list, "jobgate").State != findings.OK {
		t.Errorf("with an API server that does not answer: exit code %d, %+v", exitCode, list)
	}
}

func find(t *testing.T, list findings.List, name string) findings.Finding {
	t.Helper()
	for _, f := range list.Findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("there is no finding %s: %+v", name, list)
	return findings.Finding{}
}
