package e2e_test

import (
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/config"
)

// What is valid and unwise is in the log at the start, and again when the configuration has changed.
func TestConfig_WarningsAreLogged(t *testing.T) {
	j, err := site.StartJobgate(t.Context(), "jobgate-warns", func(c *config.Configuration) {
		c.Agents[0].Impersonate.Groups = []string{"*"}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantWarnings(t, logLines(t, j, "Configuration warning"), "agents[0].impersonate.groups[0]")
	if err := j.Reconfigure(t.Context(), func(c *config.Configuration) { c.Agents[0].Impersonate.Users = []string{"a", "*"} }); err != nil {
		t.Fatal(err)
	}
	wantWarnings(t, logLines(t, j, "Configuration warning"),
		"agents[0].impersonate.groups[0]", "agents[0].impersonate.groups[0]", "agents[0].impersonate.users[1]")
}

func wantWarnings(t *testing.T, lines []string, keys ...string) {
	t.Helper()
	if len(lines) != len(keys) {
		t.Fatalf("the log has %d warnings, want %q: %q", len(lines), keys, lines)
	}
	for i, line := range lines {
		if !strings.Contains(line, keys[i]) {
			t.Errorf("warning %d is not about %s: %s", i, keys[i], line)
		}
	}
}
