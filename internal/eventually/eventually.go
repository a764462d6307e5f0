// Package eventually waits in tests for what another goroutine or another process brings about. Code whose clock a test
// controls needs no waiting: testing/synctest is better there.
package eventually

import (
	"testing"
	"time"
)

// Patience bounds what a test waits for. It only ends a broken run: no test expects it to pass.
const Patience = time.Minute

// The pauses between two tries of a condition, which is cheap, and of a check, which may run a program.
const (
	conditionPause = 10 * time.Millisecond
	checkPause     = 100 * time.Millisecond
)

// True repeats the condition until it holds. What names it in the failure.
func True(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !poll(t, conditionPause, condition) {
		t.Fatalf("after %s still not true: %s", Patience, what)
	}
}

// Succeeds repeats the check until it returns nil. The failure shows the last error.
func Succeeds(t testing.TB, check func() error) {
	t.Helper()
	var last error
	if !poll(t, checkPause, func() bool { last = check(); return last == nil }) {
		t.Fatalf("after %s still: %v", Patience, last)
	}
}

func poll(t testing.TB, pause time.Duration, condition func() bool) bool {
	deadline := time.After(Patience)
	for !condition() {
		select {
		case <-time.After(pause):
		case <-deadline:
			return false
		case <-t.Context().Done():
			return false
		}
	}
	return true
}
