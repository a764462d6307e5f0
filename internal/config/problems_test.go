package config_test

import (
	"errors"
	"slices"
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

func TestError_SaysThatValuesOfAWrongTypeAreLeftOut(t *testing.T) {
	const omitted = "1: has more values of a wrong type than are listed"
	for name, text := range map[string]string{
		"many values":          "agents: [" + strings.Repeat("5, ", 200) + "5]\n",
		"values in much text":  "agents: [" + strings.Repeat("5, ", 20) + "{name: " + strings.Repeat("x", 1_000_000) + "}]\n",
		"one value, much text": "agents: [5, {name: " + strings.Repeat("x", 1_000_000) + "}]\n",
	} {
		got := problems(t, text)
		if want := !strings.HasPrefix(name, "one"); slices.Contains(got, omitted) != want || len(got) > 100 {
			t.Errorf("%s: got %d problems, among them %q: %t, want %t", name, len(got), omitted, !want, want)
		}
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
