package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/e2e/docs"
)

// The pages show commands in fenced blocks, and the words behind the fence say how a block is known to be right:
//
//	```sh run node       is run as root on a control-plane node that init has set up and that runs jobgate
//	```sh run admin      is run in a clone of the repository, where kubectl is the cluster's administrator
//	```sh run job        is run as the script of a CI job
//	```sh init TARGET    is run as root on a node without jobgate, or kube-apiserver; what it prints and writes is on the page:
//	```sh init TARGET existing   the same, on a control-plane node of a cluster
//	```text printed TARGET       its steps, up to the end
//	```text flags TARGET         kube-apiserver's flags
//	```yaml written TARGET FILE  a file, below the folder that it wrote
//	```sh make           names targets that there are
//	```sh release        needs what no test has: a registry, an identity. Only releasePages have it, where an indented block
//	                     is one, too; releasePrograms has the programs
//	```yaml run job      is a .gitlab-ci.yml, whose jobs are run with their before_script and script
//
// commands_linux_test.go runs them. Blocks of one page and kind run one after the other on the same machine.
const (
	shell   = "sh"
	wayRun  = "run"
	wayInit = "init"
	wayMake = "make"
	release = "release"
)

// releasePages may show commands of the kind release, and releasePrograms are the ones, with what no test has.
var (
	releasePages    = []string{"docs/release.md"}
	releasePrograms = map[string]string{
		"git tag":             "a signing key",
		"git clone":           "GitHub",
		"git push":            "GitHub",
		"gh":                  "GitHub",
		"sha256sum":           "the files of a release",
		"go tool govulncheck": "the database of vulnerabilities",
		"go tool crane":       "a registry",
		"go run":              "a release's binary",
		"cosign":              "an identity, and a registry",
		"docker":              "a container engine",
		"ctr":                 "a container engine",
		"make":                "a release's commit; its target is checked",
	}
)

// allPages are read once for each test: a page may be rewritten meanwhile.
func allPages(t *testing.T) []*docs.Page {
	t.Helper()
	set := site.Binaries()
	pages, err := docs.Pages(set.Repository)
	if err != nil {
		t.Fatal(err)
	}
	return pages
}

// So no page shows a command that no test runs.
func TestCommands_StandInBlocksOfAKnownKind(t *testing.T) {
	found := map[string]int{}
	for _, page := range allPages(t) {
		for _, block := range page.Blocks {
			if !checkKind(t, block) {
				continue
			}
			found[block.Words[0]]++
		}
		if slices.Contains(releasePages, page.Path) {
			checkRelease(t, indentedBlock(page))
			continue
		}
		for _, line := range docs.Commands(page.Indented()) {
			t.Errorf("%s:%d: put the command into a block ```sh … ```, which says how it is tested: %s", page.Path, line.Number, line.Text)
		}
	}
	for _, way := range []string{wayRun, wayInit, wayMake} {
		if found[way] == 0 {
			t.Errorf("no page has a block ```sh %s", way)
		}
	}
}

// isInit says whether a block runs init.
func isInit(b docs.Block) bool {
	return b.Is(shell, wayInit) && (len(b.Words) == 2 || len(b.Words) == 3 && b.Words[2] == "existing")
}

// checkKind says whether a block has commands.
func checkKind(t *testing.T, b docs.Block) bool {
	t.Helper()
	if b.Language != shell {
		generated := b.Is("text", "printed") || b.Is("text", "hint") || b.Is("yaml", "written") || b.Is("yaml", wayRun, "job")
		if lines := docs.Commands(b.Lines()); len(lines) > 0 && !generated || slices.Contains([]string{"bash", "shell", "console"}, b.Language) {
			t.Errorf("%s has commands: make it ```sh and say how it is tested", b)
		}
		return false
	}
	switch {
	case b.Is(shell, wayRun, "node"), b.Is(shell, wayRun, "admin"), b.Is(shell, wayRun, "job"), b.Is(shell, wayMake):
	case isInit(b):
	case b.Is(shell, release) && slices.Contains(releasePages, b.Page):
		checkRelease(t, b)
	default:
		t.Errorf("%s: the words after sh must be run node, run admin, run job, init TARGET [existing] or make, and in %v release", b, releasePages)
		return false
	}
	return true
}

var (
	continued    = regexp.MustCompile(`\\\n\s*`)
	assignment   = regexp.MustCompile(`^(?:[A-Z_]+=(?:\$\(.*?\)|\S)*\s+)+`)
	substitution = regexp.MustCompile(`\s-modfile=\S+`)
)

// indentedBlock is what a page of releases shows by indentation alone, as one block.
func indentedBlock(page *docs.Page) docs.Block {
	b := docs.Block{Page: page.Path, Language: shell, Words: []string{release}}
	for _, line := range page.Indented() {
		if b.Line == 0 {
			b.Line = line.Number
		}
		b.Text += strings.TrimSpace(line.Text) + "\n"
	}
	return b
}

// checkRelease fails for a program that a test could run.
func checkRelease(t *testing.T, b docs.Block) {
	t.Helper()
	for line := range strings.Lines(continued.ReplaceAllString(b.Text, " ")) {
		for _, part := range strings.Split(strings.TrimSpace(line), " && ") {
			part = substitution.ReplaceAllString(assignment.ReplaceAllString(part, ""), "")
			known := strings.HasPrefix(part, "cd ") || strings.HasPrefix(part, "git status ") || strings.HasPrefix(part, "go version ")
			for program := range releasePrograms {
				known = known || strings.HasPrefix(part, program+" ")
			}
			if !known {
				t.Errorf("%s: releasePrograms has no reason why %q is not run", b, part)
			}
			if words := strings.Fields(part); words[0] == "make" {
				dryMake(t, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "-C" || w == ".." }), " "))
			}
		}
	}
}

// Blocks of make name targets that there are, and nothing else.
func TestCommands_MakeTargetsExist(t *testing.T) {
	for _, page := range allPages(t) {
		for _, block := range page.Blocks {
			if !block.Is(shell, wayMake) {
				continue
			}
			for _, line := range block.Lines() {
				command, _, _ := strings.Cut(line.Text, " #")
				if words := strings.Fields(assignment.ReplaceAllString(command, "")); len(words) == 0 || words[0] != "make" {
					t.Errorf("%s:%d: %q is not make", page.Path, line.Number, line.Text)
					continue
				}
				dryMake(t, command)
			}
		}
	}
}

// dryMake has make say what it would do.
func dryMake(t *testing.T, command string) {
	t.Helper()
	set := site.Binaries()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-ec", command)
	cmd.Dir, cmd.Env = set.Repository, append(os.Environ(), "MAKEFLAGS=n")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "is up to date") { // a folder of that name, and no target
		t.Errorf("%s: %v: %s", command, err, out)
	}
}

// ownCommand is a command of jobgate's in running text, such as `kubectl exec … -- jobgate certs show --pki=DIR`.
var (
	ownCommand = regexp.MustCompile(`(?:^|-- |bin/|\| )jobgate ((?:[a-z][a-z-]*(?: |$))*)(.*)$`)
	ownFlag    = regexp.MustCompile(`(?:^|\s)(--?[a-z][a-z-]*)`)
)

// What the running text and the table of a page call a command of jobgate's is one, with flags that it has.
func TestCommands_OfJobgateInRunningTextExist(t *testing.T) {
	help, checked := map[string]string{}, 0
	for _, page := range allPages(t) {
		spans := page.Spans()
		for _, block := range page.Blocks {
			if block.Language == shell {
				spans = append(spans, block.Lines()...)
			}
		}
		for _, span := range spans {
			m := ownCommand.FindStringSubmatch(span.Text)
			if m == nil {
				continue
			}
			name := "jobgate " + strings.TrimSpace(m[1])
			if _, known := help[name]; !known {
				help[name] = helpOf(t, strings.Fields(m[1]))
			}
			checked++
			if err := checkOwn(name, m[2], help[name]); err != nil {
				t.Errorf("%s:%d: %v in %q", page.Path, span.Number, err, span.Text)
			}
		}
	}
	if checked == 0 {
		t.Error("no page names a command of jobgate's")
	}
}

func checkOwn(name, rest, help string) error {
	if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(strings.TrimSpace(name)) + `( [^a-z]|$)`).MatchString(help) {
		return fmt.Errorf("there is no command %q", name)
	}
	rest, _, _ = strings.Cut(rest, " #")
	for _, m := range ownFlag.FindAllStringSubmatch(rest, -1) {
		if !regexp.MustCompile(`(?m)^\s+(?:-[a-zA-Z], )?` + regexp.QuoteMeta(m[1]) + `\b`).MatchString(help) {
			return fmt.Errorf("%q has no flag %s", name, m[1])
		}
	}
	return nil
}

func helpOf(t *testing.T, words []string) string {
	t.Helper()
	set := site.Binaries()
	out, err := exec.CommandContext(t.Context(), set.Jobgate, append(words, "--help")...).CombinedOutput()
	if err != nil {
		t.Fatalf("jobgate %s --help: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

func TestCommands_ACommandThatIsNotThereIsSeen(t *testing.T) {
	help := helpOf(t, []string{"certs", "show"})
	for _, row := range []struct {
		name, command, rest string
		want                bool
	}{
		{"as it is", "jobgate certs show", "--pki=DIR -o json", true},
		{"another flag", "jobgate certs show", "--directory DIR", false},
		{"another command", "jobgate certs list", "", false},
		{"half a command", "jobgate certs", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := checkOwn(row.command, row.rest, help); (err == nil) != row.want {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// Files of a node that the page on installing names, as on the way back, are those that init names.
func TestCommands_InstallingNamesInitsFiles(t *testing.T) {
	for _, page := range allPages(t) {
		if page.Path != "docs/install.md" {
			continue
		}
		var generated strings.Builder
		for _, b := range page.Blocks {
			if b.Is("text", "printed") || b.Is("yaml", "written") || b.Is("text", "flags") {
				generated.WriteString(b.Text)
			}
		}
		named := 0
		for _, span := range page.Spans() {
			if regexp.MustCompile(`^/(etc|var|root|usr)/\S+$`).MatchString(span.Text) {
				if named++; !strings.Contains(generated.String(), span.Text) {
					t.Errorf("%s:%d: init names no %s", page.Path, span.Number, span.Text)
				}
			}
		}
		if named == 0 {
			t.Errorf("%s names no file", page.Path)
		}
	}
}

// repositoryFile is a file of the repository.
func repositoryFile(t *testing.T, name string) string {
	t.Helper()
	set := site.Binaries()
	return filepath.Join(set.Repository, name)
}
