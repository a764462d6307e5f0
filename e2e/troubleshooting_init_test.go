package e2e_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What init says of wrong input is on the page, line by line, and nothing is written.
func TestTroubleshooting_ShowsWhatInitRefuses(t *testing.T) {
	set := site.Binaries()
	write := func(text string) string { return writeFile(t, t.TempDir(), "input", []byte(text)) }
	withAlias := strings.NewReplacer("authorizedTTL: 1s ", "authorizedTTL: &second 1s ", "unauthorizedTTL: 1s", "unauthorizedTTL: *second")
	for _, row := range []struct {
		name string
		args []string
		want int // lines
	}{
		{"target", []string{"--target=gke"}, 1},
		{"plain http", []string{"--gitlab-url=http://gitlab.example.com"}, 1},
		{"agents", []string{"--agent=04", "--agent=5=", "--agent=4"}, 3},
		{"a grant without a cluster", []string{"--grant-project=150"}, 1},
		{"a cluster without a grant", []string{"--cluster=prod"}, 1},
		{"ID tokens without a grant", []string{"--id-token-audience=a"}, 2},
		{"a relative token file", []string{"--gitlab-token-file=token"}, 1},
		{"a CA that is none", []string{"--gitlab-ca=" + write("no PEM")}, 1},
		{"a CA with its key", []string{"--gitlab-ca=" + write("-----BEGIN PRIVATE KEY-----\n")}, 2},
		{"a CA that is not there", []string{"--gitlab-ca=/nonexistent/ca.crt"}, 1},
		{"a relative folder", []string{"--node-dir=jobgate"}, 1},
		{"a folder with a blank", []string{"--node-dir=/etc/job gate"}, 1},
		{"addresses", []string{"--address=x", "--health-address=127.0.0.1:0"}, 2},
		{"a host", []string{"--host=a b"}, 1},
		{"keep and force", []string{"--keep", "--force"}, 1},
		{"authorizers with an alias", []string{"--authorization-config=" + write(withAlias.Replace(presentAuthorizers))}, 1},
		{"RBAC first", []string{"--authorization-config=" + write(strings.Replace(presentAuthorizers, "type: Node", "type: RBAC", 1))}, 1},
		{"authorizers of another kind", []string{"--authorization-config=" + write("apiVersion: v1\nkind: ConfigMap\n")}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "jobgate")
			args := append([]string{"init", "--target=systemd", "--gitlab-url=https://gitlab.example.com", "--agent=4", "--dir=" + dir}, row.args...)
			out, err := exec.CommandContext(t.Context(), set.Jobgate, args...).CombinedOutput()
			lines, found := strings.CutPrefix(strings.TrimSpace(string(out)), "jobgate: nothing was written\n")
			if err == nil || !found {
				t.Fatalf("init should have refused: %v: %s", err, out)
			}
			shown := strings.Split(lines, "\n")
			if len(shown) != row.want {
				t.Errorf("init said %d things, want %d:\n%s", len(shown), row.want, lines)
			}
			for _, line := range shown {
				if !pageFor(t).shows(line, initBlock) {
					t.Errorf("%s does not show what init said: %s", troubleshootingPage, line)
				}
			}
		})
	}
}
