package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/daemon"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// run runs a command line in this process.
func run(t *testing.T, stdin string, args ...string) (stdout string, status int, err error) {
	t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err = cmd.ExecuteContext(t.Context())
	var own *statusError
	switch {
	case errors.As(err, &own):
		status = own.code
	case err != nil:
		status = statusUsage
	}
	return out.String(), status, err
}

// writeConfig writes a configuration for agent 4 whose files exist, with more YAML at its end.
func writeConfig(t *testing.T, gitlabURL, more string) string {
	t.Helper()
	dir := t.TempDir()
	authority, err := pkitest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.IssueServer(dir, "serving")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yaml")
	text := "apiVersion: jobgate.io/v1alpha1\nkind: Configuration\n" +
		"gitlab: {url: \"" + gitlabURL + "\", allowPlainHTTP: true}\n" +
		"agents:\n- id: 4\n" +
		"serving: {address: \"127.0.0.1:0\", healthAddress: \"127.0.0.1:0\", certFile: " + pair.Cert + ", keyFile: " + pair.Key + "}\n" + more
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigValidate(t *testing.T) {
	good := writeConfig(t, "https://gitlab.example.com", "")
	if out, status, err := run(t, "", "config", "validate", good); status != 0 || out != good+" is valid\n" {
		t.Errorf("a good file: status %d, %v: %s", status, err, out)
	}
	bad := writeConfig(t, "gitlab.example.com", "cahce: {}\n")
	_, status, err := run(t, "", "config", "validate", bad)
	var problems *config.Error
	if status != 1 || !errors.As(err, &problems) {
		t.Fatalf("a bad file: status %d, %v", status, err)
	}
	var got []string
	for _, p := range problems.Problems {
		got = append(got, p.Path)
	}
	if diff := cmp.Diff([]string{"gitlab.url", "cahce"}, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestConfigValidate_Warns(t *testing.T) {
	file := writeConfig(t, "https://gitlab.example.com", "")
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	out, status, err := run(t, "", "config", "validate", file)
	want := "warning: " + file + ":1: every user may change it (mode 0666); run chmod 0644 " + file + "\n" + file + " is valid\n"
	if status != 0 || out != want {
		t.Errorf("status %d, %v: got %q, want %q", status, err, out, want)
	}
}

func TestConfigValidate_JSON(t *testing.T) {
	exposed := writeConfig(t, "https://gitlab.example.com", "")
	if err := os.Chmod(exposed, 0o666); err != nil {
		t.Fatal(err)
	}
	bad := writeConfig(t, "https://gitlab.example.com", "cahce: {}\n")
	for _, row := range []struct {
		name, file string
		status     int
		want       configReport
	}{
		{
			name: "a warning", file: exposed,
			want: configReport{File: exposed, Valid: true, Problems: []config.Problem{}, Warnings: []config.Problem{
				{Line: 1, Message: "every user may change it (mode 0666); run chmod 0644 " + exposed},
			}},
		},
		{
			name: "a problem", file: bad, status: 1,
			want: configReport{File: bad, Problems: []config.Problem{{Line: 7, Path: "cahce", Message: "unknown key"}}, Warnings: []config.Problem{}},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, status, err := run(t, "", "config", "validate", "-o", "json", row.file)
			var got configReport
			if jsonErr := json.Unmarshal([]byte(out), &got); status != row.status || jsonErr != nil {
				t.Fatalf("status %d, %v, %v: %s", status, err, jsonErr, out)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	if out, status, err := run(t, "", "config", "validate", "-o", "json", missing); status != 1 || out != "" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: status %d, %v: %s", status, err, out)
	}
}

func TestConfigSchema(t *testing.T) {
	want, err := os.ReadFile(root + "docs/configuration.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	out, status, err := run(t, "", "config", "schema")
	if status != 0 || err != nil {
		t.Fatalf("status %d, %v", status, err)
	}
	if diff := cmp.Diff(string(want), out); diff != "" {
		t.Errorf("-docs/configuration.schema.json +printed:\n%s", diff)
	}
}

func TestVersion(t *testing.T) {
	want := fmt.Sprintf("jobgate %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, args := range [][]string{{"version"}, {"version", "--output=text"}, {"--version"}} {
		if out, status, err := run(t, "", args...); status != 0 || out != want {
			t.Errorf("%q: status %d, %v: got %q, want %q", args, status, err, out, want)
		}
	}
	for _, format := range []string{"json", "yaml"} {
		out, status, err := run(t, "", "version", "-o", format)
		var got versionReport
		if readErr := yaml.UnmarshalStrict([]byte(out), &got); status != 0 || readErr != nil || got != thisVersion() {
			t.Errorf("%s: status %d, %v, %v: %s", format, status, err, readErr, out)
		}
		if strings.HasPrefix(out, "{") != (format == "json") {
			t.Errorf("%s: got %s", format, out)
		}
	}
}

func TestCommands_BadUsageIsStatus2(t *testing.T) {
	for _, args := range []string{
		"frobnicate", "--frobnicate", "config frobnicate", "config validate a b", "config validate -o yaml a",
		"config schema a", "version a", "version -o xml", "serve", "certs frobnicate",
	} {
		if out, status, err := run(t, "", strings.Fields(args)...); status != statusUsage || err == nil {
			t.Errorf("%s: status %d, %v: %s", args, status, err, out)
		}
	}
	for _, args := range []string{"", "config", "certs", "config --help"} {
		if out, status, err := run(t, "", strings.Fields(args)...); status != 0 || !strings.Contains(out, "Usage:") {
			t.Errorf("%q: status %d, %v: %s", args, status, err, out)
		}
	}
}

const reply = `{"allowed_agents":[{"id":4,"config_project":{"id":7},"configuration":{"access_as":{"ci_job":{}}}}],` +
	`"job":{"id":1001},"pipeline":{"id":501},"project":{"id":150,"groups":[{"id":23}]},"user":{"id":9,"username":"jdoe"},` +
	`"environment":{"slug":"staging","tier":"staging"}}`

const restricted = `restrictions:
- name: production
  namespaces: [shop]
  require: {environmentTiers: [production]}
`

func TestExplain(t *testing.T) {
	rows := []struct {
		name   string
		stdin  string
		args   string
		status int
		want   []string // of the text
	}{
		{"identity alone", reply, "--reply - --agent 4", 0, []string{"gitlab:ci_job:1001", "gitlab:project_env:150:staging", "no opinion"}},
		{"no opinion", reply, "--reply - --agent 4 --verb create --resource deployments.apps -n other", 0, []string{"not applicable", "no opinion"}},
		{"denied", reply, "--reply - --agent 4 --verb create --resource deployments.apps -n shop", 1, []string{"restriction production", "denied"}},
		{"non-resource", reply, "--reply - --agent 4 --verb get --non-resource-url /readyz", 0, []string{"no opinion"}},
		{"unlisted agent", strings.Replace(reply, `"id":4`, `"id":5`, 1), "--reply - --agent 4", 1, []string{"rejected", "use agent 4"}},
		{"agent of another cluster", reply, "--reply - --agent 5", 1, []string{"agent 5 is not an agent of this cluster"}},
		{"broken reply", `{}`, "--reply - --agent 4", 2, nil},
		{"no reply", "", "--reply /nonexistent --agent 4", 2, nil},
		{"verb missing", reply, "--reply - --agent 4 --resource pods", 2, nil},
		{"resource and path", reply, "--reply - --agent 4 --verb get --resource pods --non-resource-url /", 2, nil},
		{"unknown output", reply, "--reply - --agent 4 -o yaml", 2, nil},
	}
	file := writeConfig(t, "https://gitlab.example.com", restricted)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { checkExplain(t, file, row.stdin, row.args, row.status, row.want) })
	}
}

// checkExplain runs explain with a configuration file, and looks for texts in what it prints.
func checkExplain(t *testing.T, file, stdin, args string, want int, texts []string) {
	t.Helper()
	out, status, err := run(t, stdin, append([]string{"explain", "--config", file}, strings.Fields(args)...)...)
	if status != want {
		t.Fatalf("status is %d, want %d (%v): %s", status, want, err, out)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("the output lacks %q:\n%s", text, out)
		}
	}
}

func TestExplain_JSON(t *testing.T) {
	file := writeConfig(t, "https://gitlab.example.com", restricted)
	out, status, err := run(t, reply, "explain", "--config", file, "--reply", "-", "--agent", "4",
		"--verb", "create", "--resource", "pods/exec", "--namespace", "shop", "-o", "json")
	if status != 1 {
		t.Fatalf("status is %d (%v): %s", status, err, out)
	}
	var got daemon.Explanation
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	last := got.Verdicts[len(got.Verdicts)-1]
	if !got.Denied || got.Identity.Username != "gitlab:ci_job:1001" || last.Restriction != "production" || last.Outcome != "denied" {
		t.Errorf("explanation is %+v", got)
	}
}

const grantsAndIDTokens = `cluster: {name: prod}
grants:
- name: main
  projects: [150]
  require: {refs: [main]}
idTokens: {audience: "https://kubernetes.example.com", requireLiveness: false}
`

func TestExplain_Grants(t *testing.T) {
	const instance = "https://gitlab.example.com"
	claims := func(more string) string {
		return `{"iss":"` + instance + `","aud":"https://kubernetes.example.com","exp":2,"iat":1,"job_id":"1001","pipeline_id":"501",` +
			`"job_project_id":"150","project_id":"150","user_id":"9","user_login":"jdoe",` + more + `"ref_type":"branch"}`
	}
	const onMain, onFeature = `"ref":"main",`, `"ref":"feature",`
	const create = " --verb create --resource pods -n shop"
	rows := []struct {
		name   string
		stdin  string
		args   string
		status int
		want   []string
	}{
		{name: "a reply", stdin: reply, args: "--reply -", status: 0,
			want: []string{"extra jobgate.io/denied", `grant "main"`, "its branch or tag must be one of",
				"the job's is not known: a reply of allowed_agents does not say it", "with --token-file it asks GitLab, and --claims says it"}},
		{name: "a reply of another project", stdin: strings.Replace(reply, `"id":150`, `"id":151`, 1), args: "--reply -", status: 1,
			want: []string{"no grant of the cluster prod names its project", "401"}},
		{name: "claims that a grant admits", stdin: claims(onMain), args: "--claims -" + create, status: 0,
			want: []string{"not verified", "extra jobgate.io/grant", "gitlab:project:150", "no opinion"}},
		{name: "claims that fail a requirement", stdin: claims(onFeature), args: "--claims -" + create, status: 1,
			want: []string{"not verified", `"feature"`, "denied (403)"}},
		{name: "claims of a fork", stdin: strings.Replace(claims(onMain), `"project_id":"150","user`, `"project_id":"160","user`, 1),
			args: "--claims -" + create, status: 1, want: []string{"merge request"}},
		{name: "claims for another audience", stdin: strings.Replace(claims(onMain), "kubernetes.", "vault.", 1), args: "--claims -", status: 1,
			want: []string{"its aud", "401"}},
		{name: "claims with a number for an id", stdin: strings.Replace(claims(onMain), `"1001"`, `1001`, 1), args: "--claims -", status: 1,
			want: []string{"401"}},
		{name: "claims and an agent", stdin: claims(onMain), args: "--claims - --agent 4", status: 2},
		{name: "a token of another authenticator", stdin: "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", args: "--id-token-file -", status: 2},
		{name: "no file", args: "--claims /nonexistent", status: 2},
	}
	file := writeConfig(t, instance, grantsAndIDTokens)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) { checkExplain(t, file, row.stdin, row.args, row.status, row.want) })
	}
	t.Run("neither agent nor grants", func(t *testing.T) {
		_, status, err := run(t, reply, "explain", "--config", writeConfig(t, instance, ""), "--reply", "-")
		if status != 2 || err == nil || !strings.Contains(err.Error(), "--agent is missing") {
			t.Errorf("status %d, %v", status, err)
		}
	})
}

func TestExplain_IDToken(t *testing.T) {
	s := gitlabtest.New(t, gitlabtest.Instance{
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1", Branches: []string{"main"}}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Jobs:     []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running", Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main"}}},
	})
	file := writeConfig(t, s.URL(), grantsAndIDTokens)
	token, err := s.IDToken(1001, "https://kubernetes.example.com")
	if err != nil {
		t.Fatal(err)
	}
	out, status, err := run(t, token+"\n", "explain", "--config", file, "--id-token-file", "-")
	if status != 0 || !strings.Contains(out, "extra jobgate.io/grant") || strings.Contains(out, "not verified") {
		t.Errorf("an ID token: status %d, %v: %s", status, err, out)
	}
	forged := token[:strings.LastIndex(token, ".")] + ".c2ln"
	out, status, err = run(t, forged, "explain", "--config", file, "--id-token-file", "-")
	if status != 1 || !strings.Contains(out, "its signature is not GitLab's") {
		t.Errorf("a forged one: status %d, %v: %s", status, err, out)
	}
	for i := 0; i+16 <= len(token); i += 16 {
		if strings.Contains(out, token[i:i+16]) {
			t.Fatal("the output repeats a part of the token")
		}
	}
}

func TestExplain_LiveToken(t *testing.T) {
	s := gitlabtest.New(t, gitlabtest.Instance{
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{{ID: 4, Name: "agent-name", Project: 150}},
		Jobs:     []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running", Pipeline: gitlabtest.Pipeline{ID: 501}}},
	})
	w := s.Instance()
	file := writeConfig(t, s.URL(), "")
	out, status, err := run(t, w.Job(1001).Token+"\n", "explain", "--config", file, "--token-file", "-", "--agent", "4")
	if status != 0 || !strings.Contains(out, "gitlab:agent:4") {
		t.Errorf("a live token: status %d, %v: %s", status, err, out)
	}
	if err := s.Update(func(w *gitlabtest.Instance) { w.Job(1001).Status = "success" }); err != nil {
		t.Fatal(err)
	}
	out, status, err = run(t, w.Job(1001).Token, "explain", "--config", file, "--token-file", "-", "--agent", "4")
	if status != 1 || !strings.Contains(out, "401") {
		t.Errorf("an ended job: status %d, %v: %s", status, err, out)
	}
	if strings.Contains(out, w.Job(1001).Token) {
		t.Error("the output repeats the token")
	}
}
