package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// initArgs are a command line of init that writes to dir.
func initArgs(target, dir string, more ...string) []string {
	return append([]string{
		"init", "--target", target, "--gitlab-url", "https://gitlab.example.com", "--agent", "4=path/to/project:name",
		"--dir", dir, "--node-dir", dir, "--image", "ghcr.io/jobgate/jobgate:v1.2.3",
	}, more...)
}

// files are all files below a folder and what is in them.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found[path] = string(text)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

func TestInit(t *testing.T) {
	for _, target := range install.Targets() {
		t.Run(target.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "jobgate")
			out, status, err := run(t, "", initArgs(target.Name, dir)...)
			if status != 0 {
				t.Fatalf("status %d, %v: %s", status, err, out)
			}
			if _, err := config.Load(filepath.Join(dir, install.ConfigFile)); err != nil {
				t.Error(err)
			}
			var flags []string
			for _, line := range regexp.MustCompile(`(?m)^    (--\S+)$`).FindAllStringSubmatch(out, -1) {
				flags = append(flags, line[1])
			}
			var want []string
			for _, f := range install.APIServerFlags(dir) {
				want = append(want, f.String())
			}
			if diff := cmp.Diff(want, flags); diff != "" {
				t.Errorf("flags (-want +printed):\n%s", diff)
			}
			checkSecondInit(t, target.Name, dir, out)
		})
	}
}

// checkSecondInit prints the same steps and writes nothing.
func checkSecondInit(t *testing.T, target, dir, first string) {
	t.Helper()
	before := files(t, dir)
	out, status, err := run(t, "", initArgs(target, dir)...)
	if status != 0 || !strings.Contains(out, "\nNothing changed.\n") {
		t.Errorf("the second time: status %d, %v: %s", status, err, out)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("the second time (-before +after):\n%s", diff)
	}
	_, steps, _ := strings.Cut(first, "\nNext steps:\n")
	if !strings.HasSuffix(out, steps) || !strings.Contains(steps, "\n1. ") {
		t.Errorf("the steps are other ones the second time:\n%s", out)
	}
	for _, line := range strings.Split(out, "\n") {
		if len(line) > lineWidth+3 && !strings.HasPrefix(line, "       ") && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("a line is too long: %s", line)
		}
	}
}

func TestInit_ShowsWhatItHasChanged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	if out, status, err := run(t, "", initArgs("kubeadm", dir)...); status != 0 {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	out, status, err := run(t, "", initArgs("kubeadm", dir, "--agent=5=path/to/agent/project:other")...)
	file := filepath.Join(dir, install.ConfigFile)
	if want := "+++ " + file + "\n"; status != 0 || !strings.Contains(out, want) || !strings.Contains(out, "\n+- id: 5\n") {
		t.Errorf("status %d, %v: want the change of %s in %s", status, err, file, out)
	}
	if strings.Count(out, "\n+++ ") != 1 {
		t.Errorf("there are other changes: %s", out)
	}
}

func TestInit_GrantWithoutAClusterIsOneMistake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	_, status, err := run(t, "", "init", "--target=systemd", "--dir="+dir, "--gitlab-url=https://gitlab.example.com", "--grant-project=150")
	if status != statusUsage || err == nil || !strings.Contains(err.Error(), "\n--cluster: is required") || strings.Contains(err.Error(), "--agent") {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestInit_DryRunShowsEveryFileAndNoKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	out, status, err := run(t, "", initArgs("systemd", dir, "--dry-run")...)
	if status != 0 || len(files(t, dir)) > 0 {
		t.Fatalf("status %d, %v, files %v", status, err, files(t, dir))
	}
	for _, want := range []string{
		"--- /dev/null\n+++ " + dir + "/config.yaml\n", "+- id: 4\n", "+++ " + dir + "/deploy/jobgate.service\n",
		"would issue pki/serving.pem: ", "Nothing was written: this was a dry run.\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if _, status, err := run(t, "", initArgs("systemd", dir)...); status != 0 {
		t.Fatal(err)
	}
	out, _, _ = run(t, "", initArgs("systemd", dir, "--dry-run", "--agent", "5")...)
	if !strings.Contains(out, "\n+- id: 5\n") || strings.Contains(out, "authorize.kubeconfig") || strings.Contains(out, "issue") {
		t.Errorf("shown:\n%s", out)
	}
}

// A patch for Talos has keys in it.
func TestInit_PrintsNoKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	out := ""
	for _, more := range [][]string{{"--dry-run"}, nil, {"--dry-run", "--host=jobgate"}, {"--host=jobgate"}, {"--force"}} {
		text, status, err := run(t, "", initArgs("talos", dir, more...)...)
		if status != 0 {
			t.Fatal(err)
		}
		out += text
	}
	if !strings.Contains(out, "patch.yaml\n(not shown: there is a secret in it)\n") {
		t.Errorf("printed:\n%s", out)
	}
	key := regexp.MustCompile(`(?s)BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END`)
	found := 0
	for file, text := range files(t, dir) {
		for _, match := range key.FindAllStringSubmatch(text, -1) {
			for _, line := range strings.Fields(match[1]) {
				if found++; strings.Contains(out, line) {
					t.Errorf("a key of %s is printed", file)
				}
			}
		}
	}
	if found == 0 {
		t.Error("there are no keys")
	}
}

func TestInit_AConflictIsShownAndNothingWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	if _, status, err := run(t, "", initArgs("systemd", dir)...); status != 0 {
		t.Fatal(err)
	}
	file := filepath.Join(dir, install.ConfigFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "- id: 4\n", "- id: 4     # production\n", 1)
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status, err := run(t, "", initArgs("systemd", dir)...); status != 0 || !strings.Contains(out, "kept       config.yaml  (it was changed by hand)\n") {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	before := files(t, dir)
	out, status, err := run(t, "", initArgs("systemd", dir, "--agent", "5")...)
	if status != 1 || !errors.Is(err, errClashes) {
		t.Errorf("status %d, %v", status, err)
	}
	for _, want := range []string{"conflict in " + file + ": it was changed by hand", "\n-- id: 4     # production\n", "\n+- id: 5\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	if out, status, err := run(t, "", initArgs("systemd", dir, "--agent", "5", "--keep")...); status != 0 || !strings.Contains(out, "kept       config.yaml") {
		t.Errorf("--keep: status %d, %v: %s", status, err, out)
	}
	out, status, err = run(t, "", initArgs("systemd", dir, "--agent", "6", "--force")...)
	if status != 0 || !strings.Contains(out, "replaced   config.yaml  (what was there is now config.yaml.bak)\n") {
		t.Errorf("--force: status %d, %v: %s", status, err, out)
	}
	if got := files(t, dir)[file+".bak"]; got != edited {
		t.Errorf("the copy holds %q", got)
	}
}

func TestInit_BadUsage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", []string{"init"}, "nothing was written\n--target: it is required"},
		{"a target", initArgs("gke", dir), "nothing was written\n--target: unknown target \"gke\""},
		{"an agent", initArgs("systemd", dir, "--agent", "04"), "nothing was written\n--agent: "},
		{"a project by its path", initArgs("systemd", dir, "--cluster=prod", "--grant-project=path/to/project"), "--grant-project: \"path/to/project\" is not an id"},
		{"two mistakes", initArgs("systemd", dir, "--agent", "04", "--address", "x"), "\n--address: "},
		{"a format", initArgs("systemd", dir, "--agent", "04", "-o", "yaml"), "\n--output: \"yaml\" must be text or json"},
		{"no image", initArgs("kubeadm", dir, "--image="), "nothing was written\n--image: this jobgate is not a release"},
		{"a misspelt flag", initArgs("systemd", dir, "--gitlab-ulr=x"), "unknown flag: --gitlab-ulr (did you mean --gitlab-url?)\njobgate init --help lists the flags"},
		{"half a flag", initArgs("systemd", dir, "--authorization=x"), "(did you mean --authorization-config?)"},
		{"nothing like a flag", initArgs("systemd", dir, "--verbose"), "unknown flag: --verbose\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, status, err := run(t, "", row.args...); status != statusUsage || err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("status %d, got %v, want something with %q", status, err, row.want)
			}
		})
	}
	if _, status, err := run(t, "", initArgs("systemd", dir, "kubeadm")...); status == 0 || err == nil {
		t.Errorf("an argument: status %d, %v", status, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused init left %s: %v", dir, err)
	}
}

func diffOf(r initReport, path string) string {
	i := slices.IndexFunc(r.Files, func(f fileReport) bool { return f.Path == path })
	return r.Files[i].Diff
}

// The report has what the text has, for the first time, for a dry run and for a conflict.
func TestInit_JSON(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobgate")
	report := func(more ...string) (r initReport, status int) {
		out, status, _ := run(t, "", initArgs("kubeadm", dir, append(more, "-o", "json")...)...)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r, status
	}
	outcomes := func(r initReport) map[string]conffile.Outcome {
		found := map[string]conffile.Outcome{}
		for _, f := range r.Files {
			found[f.Path] = f.Outcome
		}
		return found
	}
	r, status := report("--dry-run")
	if status != 0 || !r.DryRun || len(files(t, dir)) > 0 || !strings.Contains(r.Files[0].Diff, "\n+") {
		t.Errorf("dry run: status %d, %+v", status, r)
	}
	r, status = report()
	text, _, _ := run(t, "", initArgs("kubeadm", dir)...)
	for _, step := range r.Steps {
		for _, command := range step.Commands {
			if !strings.Contains(text, "\n       "+command+"\n") {
				t.Errorf("the text does not show %s", command)
			}
		}
	}
	for _, flag := range r.Flags {
		if !strings.Contains(text, "\n    "+flag+"\n") {
			t.Errorf("the text does not show %s", flag)
		}
	}
	if status != 0 || r.Directory != dir || outcomes(r)["config.yaml"] != conffile.Create || len(r.Flags) != 4 || len(r.Steps) < 3 ||
		len(r.Certificates) == 0 || len(r.Notes) != 1 {
		t.Errorf("status %d, %+v", status, r)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("agents: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, status = report()
	if status != 1 || outcomes(r)["config.yaml"] != conffile.Clash || !strings.Contains(diffOf(r, "config.yaml"), "-agents: [") {
		t.Errorf("conflict: status %d, %+v", status, r)
	}
	r, status = report("--force")
	if status != 0 || outcomes(r)["config.yaml"] != conffile.Replace {
		t.Errorf("--force: status %d, %+v", status, r)
	}
}

func TestInit_HelpNamesEveryTarget(t *testing.T) {
	out, status, err := run(t, "", "init", "--help")
	if status != 0 {
		t.Fatal(err)
	}
	for _, target := range install.Targets() {
		if !strings.Contains(out, "\n  "+target.Name+" ") {
			t.Errorf("%s is missing in\n%s", target.Name, out)
		}
	}
}

func TestWrap(t *testing.T) {
	word := strings.Repeat("x", 60)
	long := strings.Repeat("y", lineWidth+1)
	for _, row := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"one line", "a  b\nc", "a b c"},
		{"two lines", word + " " + word, word + "\n  " + word},
		{"a long word", "a " + long + " b", "a\n  " + long + "\n  b"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := wrap(row.text, "  "); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
