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

// ID tokens may need no GitLab at all, so job tokens that wait for it do not stand in their way.
func TestLookup_WaitingJobTokensLeaveIDTokensAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, takes: 5 * time.Second}
		r := newRegistry(t, s, defaults)
		var all sync.WaitGroup
		for range 3000 {
			all.Go(func() { _, _ = r.Lookup(t.Context(), jobToken("new")) })
		}
		synctest.Wait()
		s.slow(0)
		if _, err := r.Lookup(t.Context(), job.Credential{Kind: job.IDToken, Token: "ID token"}); err != nil {
			t.Errorf("an ID token met %v behind waiting job tokens", err)
		}
		all.Wait()
	})
}
