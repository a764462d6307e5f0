package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runCerts runs jobgate certs, which must end with the status, and returns what it printed; of an error, that instead.
func runCerts(t *testing.T, wantStatus int, args ...string) string {
	t.Helper()
	out, status, err := run(t, "", append([]string{"certs"}, args...)...)
	if status != wantStatus {
		t.Fatalf("certs %s: status %d, want %d; %v\n%s", strings.Join(args, " "), status, wantStatus, err, out)
	}
	if err != nil {
		out += err.Error()
	}
	return out
}

// firstWords are the first words of each line.
func firstWords(text string, count int) (lines []string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		lines = append(lines, strings.Join(words[:min(count, len(words))], " "))
	}
	return lines
}

func TestCerts_IssueAndRenew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	at := func(file string) string { return filepath.Join(dir, file) }
	all := []string{dir + ":", at("ca.pem:"), at("ca.crt:"), at("serving.pem:"), at("client.pem:")}
	prefixed := func(what string) (lines []string) {
		for _, file := range all {
			lines = append(lines, what+" "+file)
		}
		return lines
	}
	issue := []string{"issue", "--pki", dir, "--host", "jobgate.example.com", "--host", "10.1.2.3", "--client-name", "front", "--lifetime", "2160h"}

	if diff := cmp.Diff(prefixed("would change"), firstWords(runCerts(t, 0, append(issue, "--dry-run")...), 3)); diff != "" {
		t.Errorf("a dry run (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(prefixed("changed"), firstWords(runCerts(t, 0, issue...), 2)); diff != "" {
		t.Errorf("issue (-want +got):\n%s", diff)
	}
	if out := runCerts(t, 0, issue...); out != "" {
		t.Errorf("the second time: %s", out)
	}
	if out := runCerts(t, 0, "renew", "--pki", dir); strings.Count(out, "left as it is: it is not due before 20") != 2 {
		t.Errorf("renew of new certificates: %s", out)
	}
	if out := runCerts(t, 0, "renew", "--pki", dir, "--force"); strings.Count(out, "renewed until 20") != 2 {
		t.Errorf("renew by force: %s", out)
	}
	out := runCerts(t, 0, "show", "--pki", dir)
	for _, want := range []string{"jobgate.example.com", "10.1.2.3", "CN=front", "89d", "no rotation is under way"} {
		if !strings.Contains(out, want) {
			t.Errorf("show does not have %s:\n%s", want, out)
		}
	}
}

func TestCerts_Rotate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	runCerts(t, 0, "issue", "--pki", dir)
	name := regexp.MustCompile(`jobgate-ca-[0-9a-f]{8}`).FindString(runCerts(t, 0, "show", "--pki", dir))
	steps := []struct {
		name string
		args []string
		want string
	}{
		{"started", nil, `is trusted beside ` + name + `, and signs from 20.* on; restart API servers older than 1\.36 before$`},
		{"again", []string{"--overlap", "1h"}, `is trusted beside ` + name},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			out := strings.TrimSpace(runCerts(t, 0, append([]string{"rotate-ca", "--pki", dir}, step.args...)...))
			if !regexp.MustCompile(step.want).MatchString(out) {
				t.Errorf("it said %q, want %s", out, step.want)
			}
		})
	}
	var shown struct {
		Rotation struct{ Stage, Message string }
	}
	if err := json.Unmarshal([]byte(runCerts(t, 0, "show", "--pki", dir, "-o", "json")), &shown); err != nil || shown.Rotation.Stage != "announced" {
		t.Errorf("shown as %+v, %v", shown, err)
	}

	other := filepath.Join(t.TempDir(), "pki")
	runCerts(t, 0, "issue", "--pki", other)
	if out := runCerts(t, 0, "rotate-ca", "--pki", other, "--overlap", "1m"); !strings.Contains(out, "warning: the overlap of 1m0s is shorter than the 5m0s") {
		t.Errorf("a short overlap: %s", out)
	}
	third := filepath.Join(t.TempDir(), "pki")
	runCerts(t, 0, "issue", "--pki", third)
	if out := runCerts(t, 0, "rotate-ca", "--pki", third, "--overlap", "0s"); !strings.Contains(out, "no rotation is under way") {
		t.Errorf("no overlap: %s", out)
	}
}

func TestCerts_Status(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	runCerts(t, 0, "issue", "--pki", dir)
	serving := filepath.Join(dir, "serving.pem")
	garbled := filepath.Join(t.TempDir(), "garbled.pem")
	if err := os.WriteFile(garbled, []byte("garbled"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		args   []string
		status int
		say    string
	}{
		{"a PKI", []string{"show", "--pki", dir}, 0, "CN=jobgate"},
		{"a file", []string{"show", serving}, 0, "CN=jobgate"},
		{"a file against its CA", []string{"show", serving, "--ca", filepath.Join(dir, "ca.crt")}, 0, "CN=jobgate"},
		{"expires soon", []string{"show", "--pki", dir, "--warn", "9000h"}, 1, "expires soon"},
		{"garbled", []string{"show", garbled}, 1, garbled},
		{"missing", []string{"show", "--pki", filepath.Join(dir, "missing")}, 1, "no such file"},
		{"neither PKI nor file", []string{"show"}, 2, "--pki or files"},
		{"both", []string{"show", "--pki", dir, serving}, 2, "--pki or files"},
		{"CA for a PKI", []string{"show", "--pki", dir, "--ca", serving}, 2, "--ca"},
		{"unknown format", []string{"show", "--pki", dir, "-o", "yaml"}, 2, "--output"},
		{"no host", []string{"issue", "--pki", dir, "--host", "a:1"}, 2, `"a:1"`},
		{"overlap too long", []string{"rotate-ca", "--pki", dir, "--overlap", "87000h"}, 2, "at most"},
		{"renew nothing", []string{"renew", "--pki", filepath.Join(dir, "missing")}, 1, "missing"},
		{"rotate nothing", []string{"rotate-ca", "--pki", filepath.Join(dir, "missing")}, 1, "missing"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if out := runCerts(t, row.status, row.args...); !strings.Contains(out, row.say) {
				t.Errorf("it said %q, want %q", out, row.say)
			}
		})
	}
}
