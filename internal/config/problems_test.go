package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/config"
)

func TestError_IsBounded(t *testing.T) {
	text := strings.Replace(read(t, "testdata/minimal.yaml"), "- id: 4", strings.Repeat("- id: 0\n", 150)+"- id: "+
		strings.Repeat("9", 1000), 1)
	var invalid *config.Error
	if _, err := config.Parse("config.yaml", []byte(text)); !errors.As(err, &invalid) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	if len(invalid.Problems) != 100 || invalid.Omitted != 51 {
		t.Errorf("got %d problems and %d more, want 100 and 51", len(invalid.Problems), invalid.Omitted)
	}
	if want := "\nconfig.yaml: and 51 more problems"; !strings.HasSuffix(invalid.Error(), want) {
		t.Errorf("got %q at the end, want %q", invalid.Error()[len(invalid.Error())-len(want):], want)
	}
	for name, text := range map[string]string{
		"value": edit(t, "path/to/agent/project:agent-name", strings.Repeat("ä", 10000)),
		"key":   read(t, "testdata/minimal.yaml") + strings.Repeat("ä", 500) + ": 1\n",
	} {
		if got := problems(t, text); len(got) != 1 || len(got[0]) > 500 {
			t.Errorf("a long %s gives %d problems, the first of %d bytes", name, len(got), len(got[0]))
		}
	}
}

// Every one of these mistakes is at a path that validation looks at, too.
func TestError_CountsEveryMistakeOfAHugeFile(t *testing.T) {
	const items = 100_000
	var invalid *config.Error
	_, err := config.Parse("config.yaml", []byte("agents: ["+strings.Repeat("5,", items)+"]\n"))
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v, want a *config.Error", err)
	}
	// apiVersion, kind, gitlab.url, serving.certFile and serving.keyFile are missing.
	if got := len(invalid.Problems) + invalid.Omitted; got != items+5 {
		t.Errorf("got %d problems, want %d", got, items+5)
	}
}

func TestError_HasOneLineForEachProblem(t *testing.T) {
	text := edit(t, "- id: 4", "- id: 4\n- id: 4\n  \"a\\nb\": 1")
	_, err := config.Parse("config.yaml", []byte(text))
	want := "config.yaml:7: agents[1].id: duplicate value: 4\nconfig.yaml:8: agents[1].a b: unknown key"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
