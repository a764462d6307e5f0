package conffile_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/install/conffile"
	"github.com/jobgate/jobgate/internal/installtest"
)

const name = "sub/file"

// wanted is one file with the content.
func wanted(content string) []conffile.File {
	return []conffile.File{{Path: name, Content: []byte(content), Mode: 0o644}}
}

func plan(t *testing.T, dir string, files []conffile.File, policy conffile.Policy) *conffile.Plan {
	t.Helper()
	p, err := conffile.NewPlan(dir, files, policy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t *testing.T, dir string, files []conffile.File, policy conffile.Policy) *conffile.Plan {
	t.Helper()
	p := plan(t, dir, files, policy)
	if err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	return p
}

func put(t *testing.T, dir, file, content string) {
	t.Helper()
	file = filepath.Join(dir, file)
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each row is the state before: what was written last, and what is there now; then "new" is wanted.
func TestPlan_Semantics(t *testing.T) {
	type result struct {
		Outcome conffile.Outcome
		Content string
		Backup  string
	}
	const hand = "by hand"
	clash := result{conffile.Clash, hand, ""}
	for _, row := range []struct {
		name      string
		last, now string // empty: none
		policy    conffile.Policy
		objection string
		invalid   bool // what is there now
		want      result
	}{
		{name: "missing", want: result{conffile.Create, "new", ""}},
		{name: "missing, written before", last: "new", want: result{conffile.Create, "new", ""}},
		{name: "equal", last: "new", now: "new", want: result{conffile.Equal, "new", ""}},
		{name: "equal, not written from here", now: "new", want: result{conffile.Adopt, "new", ""}},
		{name: "equal by hand", last: "old", now: "new", want: result{conffile.Adopt, "new", ""}},
		{name: "unchanged since", last: "old", now: "old", want: result{conffile.Update, "new", ""}},
		{name: "unchanged since, objection", last: "old", now: "old", objection: "no", want: result{conffile.Clash, "old", ""}},
		{
			name: "unchanged since, objection, force", last: "old", now: "old", objection: "no", policy: conffile.TakeNew,
			want: result{conffile.Replace, "new", name + ".bak"},
		},
		{name: "changed by hand alone", last: "new", now: hand, want: result{conffile.Keep, hand, ""}},
		{name: "changed by hand alone, force", last: "new", now: hand, policy: conffile.TakeNew, want: result{conffile.Keep, hand, ""}},
		{name: "changed by hand, invalid", last: "new", now: hand, invalid: true, want: clash},
		{name: "changed by hand, invalid, keep", last: "new", now: hand, invalid: true, policy: conffile.KeepMine, want: clash},
		{
			name: "changed by hand, invalid, force", last: "new", now: hand, invalid: true, policy: conffile.TakeNew,
			want: result{conffile.Replace, "new", name + ".bak"},
		},
		{name: "changed by both, invalid, keep", last: "old", now: hand, invalid: true, policy: conffile.KeepMine, want: clash},
		{name: "changed by both", last: "old", now: hand, want: clash},
		{name: "changed by both, keep", last: "old", now: hand, policy: conffile.KeepMine, want: result{conffile.Keep, hand, ""}},
		{
			name: "changed by both, force", last: "old", now: hand, policy: conffile.TakeNew,
			want: result{conffile.Replace, "new", name + ".bak"},
		},
		{name: "not written from here", now: hand, want: clash},
		{name: "not written from here, keep", now: hand, policy: conffile.KeepMine, want: result{conffile.Keep, hand, ""}},
		{
			name: "not written from here, force", now: hand, policy: conffile.TakeNew,
			want: result{conffile.Replace, "new", name + ".bak"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if row.last != "" {
				apply(t, dir, wanted(row.last), conffile.Refuse)
				must(t, os.Remove(filepath.Join(dir, name)))
			}
			if row.now != "" {
				put(t, dir, name, row.now)
			}
			before := installtest.Tree(t, dir)
			files := wanted("new")
			if row.objection != "" {
				files[0].Objection = func([]byte) string { return row.objection }
			}
			files[0].Check = func(current []byte) error {
				if row.invalid && string(current) == row.now {
					return errors.New("broken")
				}
				return nil
			}
			p := plan(t, dir, files, row.policy)
			if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
				t.Fatalf("a plan changed something (-before +after):\n%s", diff)
			}
			if err := p.Apply(); (err != nil) != (row.want.Outcome == conffile.Clash) {
				t.Fatalf("applying it: %v", err)
			}
			c := p.Changes[0]
			content, err := os.ReadFile(filepath.Join(dir, name))
			must(t, err)
			if diff := cmp.Diff(row.want, result{c.Outcome, string(content), c.Backup}); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if row.want.Outcome == conffile.Clash || row.want.Outcome == conffile.Keep {
				if c.Why == "" {
					t.Error("nothing says why")
				}
			}
			if c.Backup != "" {
				kept, err := os.ReadFile(filepath.Join(dir, c.Backup))
				if err != nil || string(kept) != row.now {
					t.Errorf("the copy holds %q (%v), want %q", kept, err, row.now)
				}
			}
			if row.want.Outcome == conffile.Clash {
				if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
					t.Errorf("a conflict changed something (-before +after):\n%s", diff)
				}
				return
			}
			checkSettled(t, dir, files)
		})
	}
}

// checkSettled applies the same once more, which has nothing to do.
func checkSettled(t *testing.T, dir string, files []conffile.File) {
	t.Helper()
	before := installtest.Tree(t, dir)
	again := plan(t, dir, files, conffile.Refuse)
	if again.Writes() || len(again.Clashes()) > 0 {
		t.Errorf("the second time there are changes: %+v", again.Changes)
	}
	must(t, again.Apply())
	if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
		t.Errorf("the second time changed something (-before +after):\n%s", diff)
	}
}

func TestApply_ChangesNothingWhereOneFileClashes(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "b", "by hand")
	before := installtest.Tree(t, dir)
	p := plan(t, dir, []conffile.File{{Path: "a", Content: []byte("1")}, {Path: "b", Content: []byte("2")}}, conffile.Refuse)
	if len(p.Clashes()) != 1 || p.Clashes()[0].Path != "b" {
		t.Errorf("clashes are %+v", p.Clashes())
	}
	if p.Apply() == nil {
		t.Error("a plan with a conflict was applied")
	}
	if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestApply_LeavesWhatIsNoLongerWanted(t *testing.T) {
	dir := t.TempDir()
	apply(t, dir, append(wanted("1"), conffile.File{Path: "old", Content: []byte("2"), Mode: 0o644}), conffile.Refuse)
	p := apply(t, dir, wanted("1"), conffile.Refuse)
	if c := p.Changes[0]; c.Path != "old" || c.Outcome != conffile.Extra {
		t.Errorf("got %+v", p.Changes)
	}
	if _, err := os.Stat(filepath.Join(dir, "old")); err != nil {
		t.Error(err)
	}
	checkSettled(t, dir, wanted("1"))
	must(t, os.Remove(filepath.Join(dir, "old")))
	if p := apply(t, dir, wanted("1"), conffile.Refuse); len(p.Changes) != 1 {
		t.Errorf("a file that is gone is still spoken of: %+v", p.Changes)
	}
}

func TestApply_NeverOverwritesACopy(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"first", "second", "third"} {
		put(t, dir, name, content)
		apply(t, dir, wanted("new"), conffile.TakeNew)
		must(t, os.Remove(filepath.Join(dir, conffile.State)))
	}
	for file, want := range map[string]string{name + ".bak": "first", name + ".bak1": "second", name + ".bak2": "third"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", file, got, err, want)
		}
	}
}

func TestApply_SecretsAreMadeAnewAndNotRemembered(t *testing.T) {
	dir := t.TempDir()
	secret := func(content string) []conffile.File {
		return []conffile.File{{Path: "key", Content: []byte(content), Mode: 0o600, Secret: true}}
	}
	apply(t, dir, secret("one"), conffile.Refuse)
	put(t, dir, "key", "changed")
	p := apply(t, dir, secret("two"), conffile.Refuse)
	if p.Changes[0].Outcome != conffile.Update {
		t.Errorf("got %+v", p.Changes[0])
	}
	if text := p.Changes[0].Diff(dir); strings.Contains(text, "two") || strings.Contains(text, "changed") || text == "" {
		t.Errorf("shown: %s", text)
	}
	if _, err := os.Stat(filepath.Join(dir, conffile.State)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a secret is remembered: %v", err)
	}
	checkSettled(t, dir, secret("two"))
}

func TestState_IsWhatSha256sumReads(t *testing.T) {
	dir := t.TempDir()
	apply(t, dir, append(wanted("1"), conffile.File{Path: "a", Content: []byte("2"), Mode: 0o644}), conffile.Refuse)
	check := exec.Command("sha256sum", "--check", "--strict", conffile.State)
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil || string(out) != "a: OK\n"+name+": OK\n" {
		t.Errorf("%v: %s", err, out)
	}
	put(t, dir, "a", "by hand")
	check = exec.Command("sha256sum", "--check", "--quiet", conffile.State)
	check.Dir = dir
	if out, err := check.Output(); err == nil || string(out) != "a: FAILED\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestNewPlan_RefusesAStateThatItCannotRead(t *testing.T) {
	sum := strings.Repeat("0", 64)
	for _, row := range []struct{ name, text string }{
		{"no hash", "config.yaml\n"},
		{"a short hash", sum[1:] + "  config.yaml\n"},
		{"one space", sum + " config.yaml\n"},
		{"a file elsewhere", sum + "  ../config.yaml\n"},
		{"an absolute file", sum + "  /etc/passwd\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, conffile.State, row.text)
			if _, err := conffile.NewPlan(dir, wanted("new"), conffile.TakeNew); err == nil ||
				!strings.Contains(err.Error(), conffile.State+", line 1") {
				t.Errorf("got %v", err)
			}
		})
	}
}
