package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	goversion "go/version"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// dockerfile is what the tests need to know of the Dockerfile.
type dockerfile struct {
	text   string
	config v1.Config
	files  map[string]int64 // what the last stage copies in, with its mode
	build  string           // the command that builds the binary
}

// readDockerfile reads the instructions of the last stage, with the build arguments in their place. It knows those that
// are there today, and refuses any other rather than overlook it.
func readDockerfile(t *testing.T, arguments map[string]string) dockerfile {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	joined := strings.ReplaceAll(regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(text), ""), "\\\n", "")
	stages := regexp.MustCompile(`(?m)^FROM `).Split(joined, -1)
	if len(stages) != 3 || !strings.HasPrefix(stages[2], "scratch\n") {
		t.Fatalf("the Dockerfile has %d parts, want the arguments, a stage that builds and one from scratch", len(stages))
	}
	d := dockerfile{text: joined, config: v1.Config{Labels: map[string]string{}, ExposedPorts: map[string]struct{}{}}, files: map[string]int64{}}
	if m := regexp.MustCompile(`(?m)^RUN .*?(GOOS=.*)$`).FindStringSubmatch(stages[1]); m != nil {
		d.build = m[1]
	}
	declared := map[string]string{}
	for line := range strings.Lines(strings.TrimPrefix(stages[2], "scratch\n")) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "":
		case "ARG":
			declared[rest] = arguments[rest]
		default:
			d.apply(t, instruction, os.Expand(rest, func(name string) string {
				value, ok := declared[name]
				if !ok {
					t.Errorf("%s uses %s, which the stage does not declare", instruction, name)
				}
				return value
			}))
		}
	}
	return d
}

func (d *dockerfile) apply(t *testing.T, instruction, rest string) {
	t.Helper()
	switch instruction {
	case "USER":
		d.config.User = rest
	case "WORKDIR":
		d.config.WorkingDir = rest
	case "STOPSIGNAL":
		d.config.StopSignal = rest
	case "ENV":
		d.config.Env = append(d.config.Env, rest)
	case "ENTRYPOINT":
		if err := json.Unmarshal([]byte(rest), &d.config.Entrypoint); err != nil {
			t.Errorf("ENTRYPOINT %s: %v", rest, err)
		}
	case "EXPOSE":
		for port := range strings.FieldsSeq(rest) {
			d.config.ExposedPorts[port] = struct{}{}
		}
	case "LABEL":
		key, quoted, _ := strings.Cut(rest, "=")
		value, err := strconv.Unquote(quoted)
		if err != nil {
			t.Errorf("LABEL %s: %v", rest, err)
		}
		d.config.Labels[key] = value
	case "COPY":
		m := regexp.MustCompile(`^--from=build --chmod=(\d+) \S+ /(\S+)$`).FindStringSubmatch(rest)
		if m == nil {
			t.Fatalf("COPY %s: want one file from the stage that builds, with its mode", rest)
		}
		mode, err := strconv.ParseInt(m[1], 8, 64)
		if err != nil {
			t.Fatal(err)
		}
		d.files[m[2]] = mode
	default:
		t.Errorf("the Dockerfile's last stage has %s, which the assembled image knows nothing of", instruction)
	}
}

func TestDockerfile_SaysWhatIsAssembled(t *testing.T) {
	r := release{version: "v1.2.3", revision: "abc", created: time.Unix(1700000000, 0)}
	d := readDockerfile(t, map[string]string{"VERSION": r.version, "REVISION": r.revision})
	if diff := cmp.Diff(r.config(), d.config); diff != "" {
		t.Errorf("configurations differ (-assembled +Dockerfile):\n%s", diff)
	}
	a := runImage(t, epoch, "--binary", tiny{}.build(t), "--ca-certificates", bundle(t), "--version", r.version, "--revision", r.revision)
	assembled := map[string]int64{}
	for _, e := range contents(t, a.image(t, "linux/amd64")) {
		if !strings.HasSuffix(e.name, "/") {
			assembled[e.name] = e.mode
		}
	}
	if diff := cmp.Diff(assembled, d.files); diff != "" {
		t.Errorf("files differ (-assembled +Dockerfile):\n%s", diff)
	}
}

// The compiler in the Dockerfile must be new enough: with GOTOOLCHAIN=local it fetches no other.
func TestDockerfile_GoIsNewEnough(t *testing.T) {
	d := readDockerfile(t, nil)
	image := regexp.MustCompile(`(?m)^ARG GO_IMAGE=\S+/golang:([0-9.]+)-\S+$`).FindStringSubmatch(d.text)
	if image == nil {
		t.Fatal("the Dockerfile names no Go image with its full version")
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	directive := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(module)
	if directive == nil {
		t.Fatal("go.mod has no go directive")
	}
	if goversion.Compare("go"+image[1], "go"+string(directive[1])) < 0 {
		t.Errorf("the Dockerfile builds with Go %s, and go.mod wants %s", image[1], directive[1])
	}
}
