package install_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
	"github.com/jobgate/jobgate/internal/installtest"
)

func setup(t *testing.T, in install.Input) *install.Setup {
	t.Helper()
	s, err := in.Setup(t.Context())
	must(t, err)
	return s
}

func applied(t *testing.T, in install.Input) *install.Work {
	t.Helper()
	w, err := setup(t, in).Apply()
	must(t, err)
	if clashes := w.Directory.Clashes(); len(clashes) > 0 {
		t.Fatalf("conflicts: %+v", clashes)
	}
	return w
}

func outcomes(w *install.Work) map[string]conffile.Outcome {
	got := map[string]conffile.Outcome{}
	for _, c := range w.Directory.Changes {
		got[c.Path] = c.Outcome
	}
	return got
}

func TestApply_TheSecondTimeChangesNothing(t *testing.T) {
	for _, target := range install.Targets() {
		t.Run(target.Name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			in.Target, in.Dir, in.GitLabCAFile = target.Name, filepath.Join(dir, "jobgate"), certificate(t, dir)
			in.AuthorizersFile = write(t, filepath.Join(dir, "present.yaml"), header+"authorizers:\n"+node+webhookItem("a")+rbac)
			applied(t, in)
			before := installtest.Tree(t, dir)
			w := applied(t, in)
			if w.Directory.Writes() || len(w.Certificates) > 0 {
				t.Errorf("there are changes: %v, %v", outcomes(w), w.Certificates)
			}
			if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
			if _, err := config.Load(filepath.Join(in.Dir, install.ConfigFile)); err != nil {
				t.Error(err)
			}
		})
	}
}

// A hardened node's umask must not keep jobgate, which is another user, out of its folder.
func TestApply_TheFolderIsForJobgateToReadWhateverTheUmask(t *testing.T) {
	in := input(filepath.Join(t.TempDir(), "kubernetes"))
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	applied(t, in)
	for file, want := range map[string]fs.FileMode{
		"..": 0o755, "": 0o755, install.DeployDir: 0o755, install.ConfigFile: 0o644, install.AuthorizationFile: 0o644,
	} {
		info, err := os.Stat(filepath.Join(in.NodeDir, file))
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has mode %o, want %o", file, got, want)
		}
	}
}

func TestPlan_WritesNothing(t *testing.T) {
	for _, target := range install.Targets() {
		t.Run(target.Name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			in.Target, in.Dir = target.Name, filepath.Join(dir, "jobgate")
			before := installtest.Tree(t, dir)
			w, err := setup(t, in).Plan()
			must(t, err)
			if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
			var issued []string
			for _, c := range w.Certificates {
				issued = append(issued, c.File)
			}
			slices.Sort(issued)
			if got := slices.DeleteFunc(issued, func(f string) bool { return f == "." }); len(got) != 4 {
				t.Errorf("it would issue %v", got)
			}
			for path, outcome := range outcomes(w) {
				if outcome != conffile.Create {
					t.Errorf("%s: %s", path, outcome)
				}
			}
		})
	}
}

func TestApply_ConflictsLeaveEverythingAsItIs(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	must(t, os.MkdirAll(in.NodeDir, 0o755))
	write(t, filepath.Join(in.NodeDir, install.ConfigFile), "# mine\n")
	write(t, filepath.Join(in.NodeDir, install.AuthorizeFile), "# mine, too\n")
	before := installtest.Tree(t, dir)
	w, err := setup(t, in).Apply()
	must(t, err)
	if got := len(w.Directory.Clashes()); got != 2 {
		t.Errorf("%d conflicts, want 2", got)
	}
	if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	in.TakeNew = true
	applied(t, in)
	if got, err := os.ReadFile(filepath.Join(in.NodeDir, install.ConfigFile+".bak")); err != nil || string(got) != "# mine\n" {
		t.Errorf("the copy holds %q (%v)", got, err)
	}
}

func TestApply_AHandEditedConfigurationSurvives(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	applied(t, in)
	file := filepath.Join(in.NodeDir, install.ConfigFile)
	written, err := os.ReadFile(file)
	must(t, err)
	edited := string(written) + "explainRejections: true\n"
	write(t, file, edited)
	if got := outcomes(applied(t, in))[install.ConfigFile]; got != conffile.Keep {
		t.Errorf("it is %s", got)
	}
	in.Agents = []string{"4", "5"}
	w, err := setup(t, in).Apply()
	must(t, err)
	if got := outcomes(w)[install.ConfigFile]; got != conffile.Clash {
		t.Errorf("with another agent it is %s", got)
	}
	in.KeepMine = true
	applied(t, in)
	in.KeepMine = false
	if got := outcomes(applied(t, in))[install.ConfigFile]; got != conffile.Keep {
		t.Errorf("after --keep it is %s", got)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != edited {
		t.Errorf("it holds (%v)\n%s", err, now)
	}
}

func TestApply_LooksIntoWhatItKeeps(t *testing.T) {
	for _, row := range []struct{ name, file, text, want string }{
		{"configuration", install.ConfigFile, "agents: [\n", "it was changed by hand and is not valid: config.yaml"},
		{"authorizers", install.AuthorizationFile, header + "authorizers:\n" + rbac, "there is no authorizer of type Webhook and name jobgate"},
		{"order of authorizers", install.AuthorizationFile, header + "authorizers:\n" + rbac + jobgateItem, "comes before jobgate"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			in := input(dir)
			applied(t, in)
			file := write(t, filepath.Join(in.NodeDir, row.file), row.text)
			before := installtest.Tree(t, dir)
			w, err := setup(t, in).Apply()
			must(t, err)
			if clashes := w.Directory.Clashes(); len(clashes) != 1 || clashes[0].Path != row.file || !strings.Contains(clashes[0].Why, row.want) {
				t.Errorf("conflicts: %+v", clashes)
			}
			if diff := cmp.Diff(before, installtest.Tree(t, dir)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
			in.TakeNew = true
			if got := outcomes(applied(t, in))[row.file]; got != conffile.Replace {
				t.Errorf("with --force it is %s", got)
			}
			if kept, err := os.ReadFile(file + ".bak"); err != nil || string(kept) != row.text {
				t.Errorf("the copy holds (%v)\n%s", err, kept)
			}
		})
	}
}

// A second run without --authorization-config must not lose the cluster's other webhooks.
func TestApply_LosesNoAuthorizer(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	present := write(t, filepath.Join(dir, "present.yaml"), header+"authorizers:\n"+node+webhookItem("policy")+rbac)
	in.AuthorizersFile = present
	applied(t, in)
	in.AuthorizersFile = ""
	w, err := setup(t, in).Apply()
	must(t, err)
	clashes := w.Directory.Clashes()
	if len(clashes) != 1 || clashes[0].Path != install.AuthorizationFile || !strings.Contains(clashes[0].Why, "(policy)") {
		t.Errorf("conflicts: %+v", clashes)
	}
	// What init made of it serves as well as what it was made of.
	in.AuthorizersFile = filepath.Join(in.NodeDir, install.AuthorizationFile)
	if w := applied(t, in); w.Directory.Writes() {
		t.Errorf("got %v", outcomes(w))
	}
}

func TestApply_GoesOnWhereItWasInterrupted(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	// A file is in the place of the folder deploy.
	must(t, os.MkdirAll(in.NodeDir, 0o755))
	obstacle := write(t, filepath.Join(in.NodeDir, install.DeployDir), "")
	if _, err := setup(t, in).Plan(); err == nil {
		t.Fatal("a file in the place of a folder goes unnoticed")
	}
	must(t, os.Remove(obstacle))
	obstacle = filepath.Join(in.NodeDir, install.DeployDir, ".jobgate.service.1.tmp", "x")
	must(t, os.MkdirAll(obstacle, 0o755))
	if _, err := setup(t, in).Apply(); err == nil {
		t.Fatal("a write that must fail did not")
	}
	pki := filepath.Join(in.NodeDir, install.PKIDir, certs.SigningFile)
	key, err := os.ReadFile(pki)
	must(t, err)
	must(t, os.RemoveAll(filepath.Dir(obstacle)))
	applied(t, in)
	if now, err := os.ReadFile(pki); err != nil || string(now) != string(key) {
		t.Errorf("the CA is another one (%v)", err)
	}
}

// Only root may give files away. Another user is told to do so as root.
func TestApply_KeysBelongToWhomJobgateRunsAs(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	in.Target = "kubeadm"
	w := applied(t, in)
	info, err := os.Stat(filepath.Join(in.NodeDir, install.PKIDir, certs.ServingFile))
	must(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	told := w.FirstStep == 0 && strings.HasPrefix(w.Steps[0].Commands[0], "chown -R 65532:65532 ")
	if given := owner.Uid == 65532 && owner.Gid == 65532; given == told || given != (os.Geteuid() == 0) {
		t.Errorf("the owner is %d:%d, and to change that is a step: %t", owner.Uid, owner.Gid, told)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %o", info.Mode().Perm())
	}
}

func TestSteps_BringTheFolderToTheNode(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	in.Dir = filepath.Join(dir, "out put")
	w := applied(t, in)
	if w.FirstStep != 0 || !strings.Contains(strings.Join(w.Steps[0].Commands, "\n"), "tar -C '"+in.Dir+"' -cf - . | ssh") {
		t.Errorf("the first step, number %d, is %+v", w.FirstStep, w.Steps[0])
	}
	last := w.Steps[len(w.Steps)-1].Commands
	want := []string{
		"/usr/local/bin/jobgate check --config=" + filepath.Join(in.NodeDir, "config.yaml") + " --pki=" + filepath.Join(in.NodeDir, "pki"),
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestApply_FailsWhereTheFolderCannotBe(t *testing.T) {
	dir := t.TempDir()
	in := input(dir)
	write(t, in.NodeDir, "")
	var path *fs.PathError
	if _, err := setup(t, in).Apply(); !errors.As(err, &path) || !strings.HasPrefix(path.Path, in.NodeDir) {
		t.Errorf("got %v", err)
	}
}
