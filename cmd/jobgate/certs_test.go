package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	type step struct {
		overlap string // "": none is given
		say     []string
	}
	atOnce := []string{"is no longer trusted; no rotation is under way", "Restart every kube-apiserver now", "/etc/kubernetes/manifests"}
	rows := []struct {
		name  string
		steps []step
		stage string
	}{
		{name: "started", stage: "announced", steps: []step{
			{say: []string{"is trusted beside jobgate-ca-", "restart API servers older than 1.36 before"}},
		}},
		{name: "asked how far it is", stage: "announced", steps: []step{{}, {say: []string{"is trusted beside jobgate-ca-"}}}},
		{name: "short overlap", stage: "announced", steps: []step{
			{overlap: "1m", say: []string{"warning: the overlap of 1m0s is shorter than the 5m0s"}},
		}},
		{name: "another overlap", stage: "announced", steps: []step{{}, {overlap: "24h", say: []string{"its overlap is 24h0m0s instead of 720h0m0s"}}}},
		{name: "at once", stage: "idle", steps: []step{{overlap: "0s", say: atOnce}}},
		{name: "at once, with a rotation under way", stage: "idle", steps: []step{
			{}, {overlap: "0s", say: append(atOnce, "was made before this command")},
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			runCerts(t, 0, "issue", "--pki", dir)
			for _, step := range row.steps {
				args := []string{"rotate-ca", "--pki", dir}
				if step.overlap != "" {
					args = append(args, "--overlap", step.overlap)
				}
				out := runCerts(t, 0, args...)
				for _, want := range step.say {
					if !strings.Contains(out, want) {
						t.Errorf("it does not say %q:\n%s", want, out)
					}
				}
			}
			var shown struct {
				Rotation struct{ Stage, Message string }
			}
			decode(t, runCerts(t, 0, "show", "--pki", dir, "-o", "json"), &shown)
			if shown.Rotation.Stage != row.stage || shown.Rotation.Message == "" {
				t.Errorf("shown as %+v", shown)
			}
		})
	}
}

// decode reads JSON.
func decode(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}

func TestCerts_JSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	in := func(command string, more ...string) []string {
		return append([]string{command, "--pki", dir, "-o", "json"}, more...)
	}
	type change struct{ File, Reason string }
	var issued struct {
		DryRun  bool
		Changes []change
	}
	for _, dryRun := range []bool{true, false} {
		decode(t, runCerts(t, 0, in("issue", fmt.Sprintf("--dry-run=%t", dryRun))...), &issued)
		if want := (change{filepath.Join(dir, "ca.crt"), "it is missing"}); issued.DryRun != dryRun || !slices.Contains(issued.Changes, want) {
			t.Errorf("issued %+v", issued)
		}
	}
	if out := runCerts(t, 0, in("issue")...); !strings.Contains(out, `"changes": []`) {
		t.Errorf("the second time: %s", out)
	}
	var renewed struct {
		Certificates []struct {
			File, Reason string
			Renewed      bool
			Names        []string
			Expires      time.Time
		}
	}
	decode(t, runCerts(t, 0, in("renew", "--force")...), &renewed)
	if c := renewed.Certificates; len(c) != 2 || !c[0].Renewed || c[0].File != filepath.Join(dir, "serving.pem") || c[0].Reason != "asked for" ||
		!slices.Contains(c[0].Names, "localhost") || time.Until(c[0].Expires) < 364*24*time.Hour {
		t.Errorf("renewed %+v", renewed)
	}
	var rotated struct {
		Stage, From, To, Overlap, Message string
		Until                             time.Time
		Changes                           []change
	}
	decode(t, runCerts(t, 0, in("rotate-ca", "--overlap", "24h")...), &rotated)
	if rotated.Stage != "announced" || rotated.To == "" || rotated.From == rotated.To || rotated.Overlap != "24h0m0s" ||
		time.Until(rotated.Until) < 23*time.Hour || rotated.Message == "" || len(rotated.Changes) != 2 {
		t.Errorf("rotated %+v", rotated)
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
	open := filepath.Join(t.TempDir(), "open")
	runCerts(t, 0, "issue", "--pki", open)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		args   []string
		status int
		say    string
	}{
		{name: "a PKI", args: []string{"show", "--pki", dir}, status: 0, say: "CN=jobgate"},
		{name: "a file", args: []string{"show", serving}, status: 0, say: "CN=jobgate"},
		{name: "a file against its CA", args: []string{"show", serving, "--ca", filepath.Join(dir, "ca.crt")}, status: 0, say: "CN=jobgate"},
		{name: "expires soon", args: []string{"show", "--pki", dir, "--warn", "9000h"}, status: 1, say: "expires soon"},
		{name: "open to others", args: []string{"show", "--pki", open}, status: 1, say: "run chmod 0755 " + open},
		{name: "garbled", args: []string{"show", garbled}, status: 1, say: garbled},
		{name: "missing", args: []string{"show", "--pki", filepath.Join(dir, "missing")}, status: 1, say: "no such file"},
		{name: "renew nothing", args: []string{"renew", "--pki", filepath.Join(dir, "missing")}, status: 1, say: "missing"},
		{name: "rotate nothing", args: []string{"rotate-ca", "--pki", filepath.Join(dir, "missing")}, status: 1, say: "missing"},
		{name: "CA without files", args: []string{"show", "--ca", serving}, status: 2, say: "--ca"},
		{name: "both", args: []string{"show", "--pki", dir, serving}, status: 2, say: "--pki or files"},
		{name: "CA for a PKI", args: []string{"show", "--pki", dir, "--ca", serving}, status: 2, say: "--ca"},
		{name: "negative warning", args: []string{"show", "--pki", dir, "--warn", "-1h"}, status: 2, say: "--warn"},
		{name: "unknown format", args: []string{"show", "--pki", dir, "-o", "yaml"}, status: 2, say: "--output"},
		{name: "unknown format of rotate-ca", args: []string{"rotate-ca", "--pki", dir, "-o", "table"}, status: 2, say: "--output"},
		{name: "no host", args: []string{"issue", "--pki", dir, "--host", "a:1"}, status: 2, say: `"a:1"`},
		{name: "lifetime too short", args: []string{"issue", "--pki", dir, "--lifetime", "1s"}, status: 2, say: "1s"},
		{name: "no PKI to issue", args: []string{"issue"}, status: 2, say: "--pki"},
		{name: "PKI without a name", args: []string{"renew", "--pki", ""}, status: 2, say: "--pki"},
		{name: "no PKI to rotate", args: []string{"rotate-ca"}, status: 2, say: "--pki"},
		{name: "overlap too long", args: []string{"rotate-ca", "--pki", dir, "--overlap", "87000h"}, status: 2, say: "at most"},
		{name: "negative overlap", args: []string{"rotate-ca", "--pki", dir, "--overlap", "-1s"}, status: 2, say: "negative"},
		{name: "overlap is no duration", args: []string{"rotate-ca", "--pki", dir, "--overlap", "soon"}, status: 2, say: "--overlap"},
		{name: "argument too many", args: []string{"renew", "--pki", dir, "more"}, status: 2, say: "more"},
		{name: "unknown flag", args: []string{"renew", "--pki", dir, "--forced"}, status: 2, say: "--forced"},
		{name: "unknown command", args: []string{"revoke"}, status: 2, say: "revoke"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if out := runCerts(t, row.status, row.args...); !strings.Contains(out, row.say) {
				t.Errorf("it said %q, want %q", out, row.say)
			}
		})
	}
}
