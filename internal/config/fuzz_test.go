package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
)

// FuzzParse checks that no input panics, that a refusal says what is wrong and where in the file, and that what is
// accepted is accepted again, with the same meaning, once it is written out in full.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{
		"", "---\n", "a: &a [*a]\n", "a: [\n", "{\"apiVersion\": 1}", "agents: [5, {id: x}, [], null]\n",
		"gitlab: {url: 1, url: [], timeout: {}}\n", "cache: {freshFor: .inf}\n", "? [a]\n: b\n",
		"\"\": {\"\": [{\"\": 1}]}\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Parse("config.yaml", data)
		if err != nil {
			checkRefusal(t, data, err)
			return
		}
		text, err := yaml.Marshal(c)
		if err != nil {
			t.Fatalf("writing %+v: %v", c, err)
		}
		again, err := config.Parse("again.yaml", text)
		if err != nil {
			t.Fatalf("not valid a second time: %v\n%s", err, text)
		}
		if diff := cmp.Diff(c, again, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(config.Problem{}, "Line")); diff != "" {
			t.Fatalf("-once +twice:\n%s", diff)
		}
	})
}

func checkRefusal(t *testing.T, data []byte, err error) {
	t.Helper()
	var invalid *config.Error
	if !errors.As(err, &invalid) || len(invalid.Problems) == 0 {
		t.Fatalf("got %v, want a *config.Error with problems", err)
	}
	last := 0
	for _, problem := range invalid.Problems {
		if problem.Line < max(last, 1) || problem.Line > len(data)+1 || problem.Message == "" {
			t.Fatalf("got problem %+v after line %d", problem, last)
		}
		last = problem.Line
	}
}
