package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// complete are tests of every word of every group, and one that no group names.
func complete() []string {
	tests := []string{"TestSomethingElse"}
	for _, g := range groups {
		for _, word := range g.words {
			tests = append(tests, "Test"+word+"_A")
		}
	}
	return tests
}

func TestAssign_EachTestIsInOneGroup(t *testing.T) {
	tests := complete()
	assigned, err := assign(tests)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, group := range assigned {
		for _, test := range group {
			count[test]++
		}
	}
	for _, test := range tests {
		if count[test] != 1 {
			t.Errorf("%s is in %d groups", test, count[test])
		}
	}
	if diff := cmp.Diff([]string{"TestSomethingElse"}, assigned["jobs"]); diff != "" {
		t.Errorf("the last group (-want +got):\n%s", diff)
	}
}

func TestAssign_AWordWithoutTestsIsAMistake(t *testing.T) {
	if _, err := assign(complete()[:3]); err == nil {
		t.Error("no error")
	}
}

func TestReport(t *testing.T) {
	const ran = `{"Action":"run","Test":"TestA"}` + "\n"
	rows := []struct {
		name   string
		events string
		ended  error
		fails  bool
		shows  []string
		hides  string
		last   string
	}{
		{
			name:   "a test that passes is quiet",
			events: ran + `{"Action":"output","Test":"TestA","Output":"noise\n"}` + "\n" + `{"Action":"pass","Test":"TestA","Elapsed":2}`,
			shows:  []string{"pass group     TestA 2.0 s", "1 tests passed and 0 failed"}, hides: "noise",
			last: "Kubernetes v1.36.3: no case was left out",
		},
		{
			name: "a test that fails says why, with its parts",
			events: ran + `{"Action":"output","Test":"TestA/part","Output":"the reason\n"}` + "\n" +
				`{"Action":"fail","Test":"TestA/part","Elapsed":2}` + "\n" + `{"Action":"fail","Test":"TestA","Elapsed":2}`,
			fails: true, shows: []string{"fail group     TestA 2.0 s\nthe reason\n", "0 tests passed and 1 failed", "failed: TestA\n"},
		},
		{
			name: "a case that needs a newer Kubernetes is counted in the last line",
			events: ran + `{"Action":"pass","Test":"TestB","Elapsed":2}` + "\n" +
				`{"Action":"output","Test":"TestA/part","Output":"    a_test.go:9: left out: needs Kubernetes 1.36 (a thing)\n"}` + "\n" +
				`{"Action":"skip","Test":"TestA/part","Elapsed":0}` + "\n" + `{"Action":"pass","Test":"TestA","Elapsed":2}`,
			last: "Kubernetes v1.36.3: 1 case was left out (needs Kubernetes 1.36 (a thing): TestA/part)",
		},
		{
			name: "a case that is skipped for another reason fails",
			events: ran + `{"Action":"output","Test":"TestA","Output":"no time\n"}` + "\n" +
				`{"Action":"skip","Test":"TestA","Elapsed":0}` + "\n" + `{"Action":"pass","Test":"TestB","Elapsed":2}`,
			fails: true, shows: []string{"no time\n", "failed: TestA (skipped)\n"},
		},
		{
			name:   "a test without an end fails",
			events: ran + `{"Action":"output","Test":"TestA","Output":"panic: oh\n"}`, ended: errors.New("exit status 2"),
			fails: true, shows: []string{"group: panic: oh\n", "failed: TestA (no end)\n", "failed: group group\n"},
		},
		{
			name:   "what fails outside of tests is shown",
			events: `{"Action":"pass","Test":"TestA","Elapsed":2}` + "\n" + `{"Action":"output","Output":"a token in a log\n"}`, ended: errors.New("exit status 1"),
			fails: true, shows: []string{"group: a token in a log\n"},
		},
		{name: "nothing ran", fails: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var printed strings.Builder
			r := newReport(&printed)
			if err := r.read(strings.NewReader(row.events), "group"); err != nil {
				t.Fatal(err)
			}
			r.ended("group", row.ended)
			if err := r.finish("v1.36.3", time.Second); (err != nil) != row.fails {
				t.Errorf("finish: %v, want an error: %t", err, row.fails)
			}
			for _, words := range row.shows {
				if !strings.Contains(printed.String(), words) {
					t.Errorf("the report lacks %q:\n%s", words, &printed)
				}
			}
			if row.hides != "" && strings.Contains(printed.String(), row.hides) {
				t.Errorf("the report has %q:\n%s", row.hides, &printed)
			}
			if !strings.HasSuffix(printed.String(), row.last+"\n") {
				t.Errorf("the report does not end with %q:\n%s", row.last, &printed)
			}
		})
	}
}
