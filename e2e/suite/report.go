package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
)

// event is a line of test2json.
type event struct {
	Action, Test, Output string
	Elapsed              float64 // seconds
}

// eventSize bounds a line of output in an event.
const eventSize = 1 << 20

// report prints a line for each test, and what it printed where it failed.
type report struct {
	mu      sync.Mutex
	w       io.Writer
	began   time.Time
	passed  int
	failed  []string
	leftOut map[string][]string // the tests that need a newer Kubernetes, by what they need
	took    map[string]time.Duration
}

func newReport(w io.Writer) *report {
	return &report{w: w, began: time.Now(), leftOut: map[string][]string{}, took: map[string]time.Duration{}}
}

// read reports the events of a group until they end. What belongs to no test, or to one without an end, is printed then.
func (r *report) read(events io.Reader, group string) error {
	printed := map[string][]string{} // by the test, or "" for what belongs to none
	scanner := bufio.NewScanner(events)
	scanner.Buffer(nil, eventSize)
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			e = event{Action: "output", Output: scanner.Text() + "\n"}
		}
		test, part, _ := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "output":
			printed[test] = append(printed[test], e.Output)
		case e.Action == "skip" && test != "":
			r.skip(group, e.Test, printed[test])
		case (e.Action == "pass" || e.Action == "fail") && test != "" && part == "":
			r.test(group, e, printed[test])
		default:
			continue
		}
		if e.Action != "output" && part == "" {
			delete(printed, test)
		}
	}
	r.unfinished(group, printed)
	_, err := io.Copy(io.Discard, events) // after a line that is too long, so that the program can go on
	return errors.Join(scanner.Err(), err)
}

func (r *report) test(group string, e event, printed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.w, "%s %-9s %s %.1f s\n", e.Action, group, e.Test, e.Elapsed)
	if e.Action == "pass" {
		r.passed++
		return
	}
	r.failed = append(r.failed, e.Test)
	fmt.Fprint(r.w, strings.Join(printed, ""))
}

// skip notes a case that needs a newer Kubernetes. There is no other reason to leave a case out.
func (r *report) skip(group, test string, printed []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range slices.Backward(printed) {
		if _, need, ok := strings.Cut(line, binaries.LeftOut); ok {
			need = strings.TrimSpace(need)
			r.leftOut[need] = append(r.leftOut[need], test)
			fmt.Fprintf(r.w, "left out %s %s: %s\n", group, test, need)
			return
		}
	}
	fmt.Fprintf(r.w, "skip %s %s\n%s", group, test, strings.Join(printed, ""))
	r.failed = append(r.failed, test+" (skipped)")
}

// unfinished prints what was said outside of tests, such as by a sweep over the logs, or by a test that did not end.
func (r *report) unfinished(group string, printed map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, test := range slices.Sorted(maps.Keys(printed)) {
		if test != "" {
			r.failed = append(r.failed, test+" (no end)")
		}
		for _, line := range printed[test] {
			if test != "" || !routine(line) {
				fmt.Fprintf(r.w, "%s: %s", group, line)
			}
		}
	}
}

// routine says whether a line is what every test binary prints.
func routine(line string) bool {
	return slices.ContainsFunc([]string{"PASS\n", "FAIL\n", "ok  \t", "?   \t", "FAIL\t"}, func(s string) bool { return strings.HasPrefix(line, s) })
}

// ended notes that a group's process has ended.
func (r *report) ended(group string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took[group] = time.Since(r.began)
	if err != nil {
		fmt.Fprintf(r.w, "group %s: %v\n", group, err)
		r.failed = append(r.failed, "group "+group)
	}
}

// finish prints the result. The last line says what was left out.
func (r *report) finish(kubernetes string, took time.Duration) error {
	var times []string
	for _, group := range slices.SortedFunc(maps.Keys(r.took), func(a, b string) int { return int(r.took[b] - r.took[a]) }) {
		times = append(times, fmt.Sprintf("%s %.0f s", group, r.took[group].Seconds()))
	}
	fmt.Fprintf(r.w, "\n%d tests passed and %d failed in %.0f s (%s)\n", r.passed, len(r.failed), took.Seconds(), strings.Join(times, ", "))
	for _, test := range r.failed {
		fmt.Fprintf(r.w, "failed: %s\n", test)
	}
	if r.passed == 0 {
		r.failed = append(r.failed, "no test ran")
	}
	fmt.Fprintln(r.w, r.lastLine(kubernetes))
	if len(r.failed) > 0 {
		return errors.New("tests failed")
	}
	return nil
}

func (r *report) lastLine(kubernetes string) string {
	if len(r.leftOut) == 0 {
		return "Kubernetes " + kubernetes + ": no case was left out"
	}
	count, needs := 0, []string(nil)
	for _, need := range slices.Sorted(maps.Keys(r.leftOut)) {
		count += len(r.leftOut[need])
		needs = append(needs, fmt.Sprintf("%s: %s", need, strings.Join(r.leftOut[need], ", ")))
	}
	cases := fmt.Sprintf("%d cases were", count)
	if count == 1 {
		cases = "1 case was"
	}
	return fmt.Sprintf("Kubernetes %s: %s left out (%s)", kubernetes, cases, strings.Join(needs, "; "))
}
