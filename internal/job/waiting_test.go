package job_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// Logins that wait are bounded, and a known job does not wait behind them.
func TestLookup_WaitingLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "known")
		s.slow(5 * time.Second)
		const callers = 3000
		var turnedAway atomic.Int64
		var all sync.WaitGroup
		for range callers {
			all.Go(func() {
				if _, err := r.Lookup(t.Context(), jobToken("new")); errors.Is(err, job.ErrTooManyWaiting) {
					turnedAway.Add(1)
				}
			})
		}
		synctest.Wait()
		if got := turnedAway.Load(); got != callers-2048 {
			t.Errorf("%d of %d callers were turned away at once, want all but 2,048", got, callers)
		}
		start := time.Now()
		if lookup(t, r, "known"); time.Since(start) != 0 {
			t.Errorf("a known job waited %s", time.Since(start))
		}
		all.Wait()
	})
}
