package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/findings"
)

func TestDoctor_ExitStatus(t *testing.T) {
	rows := []struct {
		name   string
		args   string
		status int
	}{
		{"a failure", "", 1},
		{"a failure, in JSON", "-o json", 1},
		{"an unknown output", "-o yaml", 2},
		{"an unknown flag", "--nonsense", 2},
		{"an argument", "now", 2},
		{"a time too short", "--timeout=1ms", 2},
		{"a time too long", "--timeout=1h", 2},
		{"an agent that is none", "--agent=-1", 2},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			runCIJob(t)
			t.Setenv("CI_JOB_TOKEN", "")
			t.Setenv("JOBGATE_URL", "")
			_, _, err := runApart(t, append([]string{"doctor"}, strings.Fields(row.args)...)...)
			if got := exitStatus(err); got != row.status {
				t.Errorf("exit status is %d, want %d (%v)", got, row.status, err)
			}
		})
	}
}

// A job that works in spite of a warning does not fail its pipeline.
func TestDoctor_WarningIsNoFailure(t *testing.T) {
	for failOnWarning, want := range map[bool]int{false: 0, true: 1} {
		o := reportOptions{failOnWarning: failOnWarning}
		if got := exitStatus(o.result(findings.Warning)); got != want {
			t.Errorf("with --fail-on-warning=%t the exit status is %d, want %d", failOnWarning, got, want)
		}
	}
}

func TestDoctor_Output(t *testing.T) {
	j := runCIJob(t)
	out, _, _ := runApart(t, "doctor", "--agent=4")
	for _, want := range []string{"failed   server", "do: ", "is the address of GitLab's tunnel", "-        identity"} {
		if !strings.Contains(out, want) {
			t.Errorf("the text lacks %q:\n%s", want, out)
		}
	}
	if strings.ContainsAny(out, "✓✗\x1b") {
		t.Errorf("what is no terminal got signs:\n%s", out)
	}
	out, _, _ = runApart(t, "doctor", "--agent=4", "-o", "json")
	var report doctor.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Job == nil || report.Job.ID != 1001 {
		t.Errorf("JSON: %v\n%s", err, out)
	}
	if strings.Contains(out, j.token) {
		t.Error("the token shows")
	}
}

func TestIsTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	device, err := os.Open(os.DevNull) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if isTerminal(file) || isTerminal(&strings.Builder{}) || !isTerminal(device) {
		t.Error("a file counts as a terminal, or a terminal does not")
	}
	t.Setenv("TERM", "dumb")
	if isTerminal(device) {
		t.Error("a dumb terminal got signs")
	}
}
