package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

// testCI assembles the image of CI jobs with the same jobgate, the real kubectl and Debian's busybox, and runs scripts in it.
func testCI(t *testing.T, s shipped) {
	out, sboms := t.TempDir(), t.TempDir()
	programtest.Shell(t, "..", fmt.Sprintf("make ci-programs PLATFORMS=linux/%s CI_PROGRAMS=%s", runtime.GOARCH, out))
	from := filepath.Join(out, "linux", runtime.GOARCH)
	a := runImage(t, epoch, append(arguments(t, s.file),
		"--version", "v9.8.7", "--kubectl", filepath.Join(from, "kubectl"), "--busybox", filepath.Join(from, "busybox"), "--sbom", sboms)...)
	if err := validate.Index(a.index); err != nil {
		t.Error(err)
	}
	image := a.image(t, "linux/"+runtime.GOARCH)
	checkCIConfig(t, image)
	c := newContainer(t, image)
	c.config.Entrypoint = c.config.Cmd
	t.Run("scripts find the programs", c.testScripts)
	t.Run("busybox has every command that the image links to it", c.testApplets)
	t.Run("the script that jobs include", c.testInclude)
	t.Run("the licence and the source of the shell are named", c.testShellLicense)
	t.Run("its bill of materials has kubectl and the shell", func(t *testing.T) {
		checkCIBOM(t, filepath.Join(sboms, "jobgate-ci-linux-"+runtime.GOARCH+".cdx.json"))
	})
}

func checkCIConfig(t *testing.T, image v1.Image) {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		User:       "65532:65532",
		Env:        []string{"PATH=/usr/local/bin:/bin", "HOME=/home/job"},
		Cmd:        []string{"/bin/sh"},
		WorkingDir: "/home/job",
		Labels:     file.Config.Labels,
	}
	if diff := cmp.Diff(want, file.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// What a runner does: the script comes in on standard input.
func (c *container) testScripts(t *testing.T) {
	rows := []struct{ name, script, want string }{
		{"jobgate", "jobgate version", "jobgate v9.8.7 " + runtime.Version() + " linux/" + runtime.GOARCH + "\n"},
		{"kubectl", "kubectl version --client -o json | grep -c gitVersion", "1\n"},
		{"kubectl's plugin", "kubectl plugin list --name-only | tail -n 1", "kubectl-jobgate\n"},
		{"jobgate as kubectl's plugin", "kubectl jobgate version | cut -d' ' -f2", "v9.8.7\n"},
		{"the help of the plugin", "kubectl jobgate version --help | grep '^ *kubectl jobgate version'", "  kubectl jobgate version [flags]\n"},
		{"a pipeline", "printf 'a b\\n' | base64 | base64 -d | sed 's/a/c/' | awk '{print $2 $1}'", "bc\n"},
		{"files in /tmp and HOME", "set -e; f=$(mktemp); echo x > \"$f\"; cat \"$f\"; rm \"$f\"; echo y > ~/y; cat ~/y; rm ~/y", "x\ny\n"},
		{"who it is", "id -u; pwd; [ -w /bin/busybox ] || echo read-only", "65532\n/home/job\nread-only\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			stdout, stderr, status := c.run(t, row.script+"\n")
			if status != 0 || stdout != row.want {
				t.Errorf("status %d: %q, want %q\n%s", status, stdout, row.want, stderr)
			}
		})
	}
}

func (c *container) testApplets(t *testing.T) {
	stdout, stderr, status := c.run(t, "busybox --list\n")
	has := strings.Fields(stdout)
	if status != 0 || len(has) == 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, name := range applets() {
		if !slices.Contains(has, name) {
			t.Errorf("busybox has no %s", name)
		}
	}
}

// The script that jobs include runs in the image's shell: without what GitLab gives a job it says what is missing.
func (c *container) testInclude(t *testing.T) {
	text, err := os.ReadFile("../manifests/gitlab-ci/jobgate.gitlab-ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, script, found := strings.Cut(string(text), "\n  before_script:\n    - |\n")
	if !found {
		t.Fatal("the include has no before_script")
	}
	_, stderr, status := c.run(t, strings.ReplaceAll("\n"+script, "\n      ", "\n"))
	if status != 1 || !strings.HasPrefix(stderr, "jobgate: ") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func (c *container) testShellLicense(t *testing.T) {
	for name, want := range map[string]string{"copyright": "GPL", "source": "https://snapshot.debian.org/"} {
		text, err := os.ReadFile(filepath.Join(c.root, "licenses", "busybox", name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("licenses/busybox/%s has no %q", name, want)
		}
	}
}

func checkCIBOM(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, c := range bom.Components {
		times[c.Name+"@"+c.Version]++
		times[c.Name]++
	}
	for _, name := range []string{"stdlib", "busybox-static", "k8s.io/kubernetes", "github.com/go-chi/chi/v5"} {
		if times[name] != 1 {
			t.Errorf("%s is listed %d times", name, times[name])
		}
	}
	for component, n := range times {
		if strings.Contains(component, "@") && n != 1 {
			t.Errorf("%s is listed %d times", component, n)
		}
	}
}
