package gitlab

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/jobgate/jobgate/internal/job"
)

// A GitLab that hangs for everyone opens the circuit, and its return closes it, at once.
func TestHealth_GitLabAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{latency: 20 * time.Millisecond}
		c := pressing(t, u)
		u.down.Store(true)
		lost := &traffic{client: c, lane: job.Logins}
		for i := range 20 {
			lost.ask(t.Context(), fmt.Sprintf("job-%d", i))
		}
		lost.wait.Wait()
		time.Sleep(2 * time.Second) // for the probes
		if got := testutil.ToFloat64(c.metrics.circuit); got != 1 {
			t.Fatalf("circuit_open is %v, want 1", got)
		}

		start, sent := time.Now(), u.requests.Load()
		_, err := c.Identify(t.Context(), "job-during", nil, job.Refreshes)
		var unavailable *job.UnavailableError
		if !errors.As(err, &unavailable) || unavailable.TimedOut || !errors.Is(err, ErrCircuitOpen) {
			t.Errorf("error is %v, want an open circuit", err)
		}
		// Only probes went out, one each half second.
		if took := time.Since(start); u.requests.Load()-sent > int64(took/probeEvery)+1 {
			t.Errorf("GitLab was asked %d times in %s", u.requests.Load()-sent, took)
		}

		u.down.Store(false)
		back := &traffic{client: c, lane: job.Logins}
		for i := range 500 {
			back.ask(t.Context(), fmt.Sprintf("job-back-%d", i))
		}
		back.wait.Wait()
		if back.failed > 0 || back.slowest > 4*time.Second {
			t.Errorf("after GitLab is back: %s", back)
		}
		if got := testutil.ToFloat64(c.metrics.circuit); got != 0 {
			t.Errorf("circuit_open is %v, want 0", got)
		}
	})
}

// Only hanging lookups, and no other traffic at all: the probes show that GitLab is well, so the first honest login
// that comes is answered at once.
func TestHealth_HangingLookupsAloneDoNotOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{latency: 20 * time.Millisecond}
		c := pressing(t, u)
		attackers := &traffic{client: c, lane: job.Logins}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		attackers.every(ctx, 50*time.Millisecond, "hanging")
		<-ctx.Done()
		start := time.Now()
		if _, err := c.Identify(t.Context(), "job-first", nil, job.Logins); err != nil || time.Since(start) > time.Second {
			t.Errorf("first login: %v after %s", err, time.Since(start))
		}
		attackers.wait.Wait()
		if got := testutil.ToFloat64(c.metrics.circuit); got != 0 {
			t.Errorf("circuit_open is %v, want 0", got)
		}
	})
}

// healthOf is the breaker over a probe that answers as told.
func healthOf(t *testing.T, probe func(context.Context) bool) *health {
	t.Helper()
	return &health{probe: probe, life: t.Context(), metrics: NewMetrics(nil)}
}

func TestHealth_Verdicts(t *testing.T) {
	rows := []struct {
		name     string
		verdicts func(report func(verdict))
		alive    bool
		open     bool
	}{
		{name: "ten failures, GitLab gone", verdicts: func(report func(verdict)) {
			for range suspicious {
				report(failed)
			}
		}, alive: false, open: true},
		{name: "ten failures, GitLab answers", verdicts: func(report func(verdict)) {
			for range suspicious {
				report(failed)
			}
		}, alive: true, open: false},
		{name: "nine failures", verdicts: func(report func(verdict)) {
			for range suspicious - 1 {
				report(failed)
			}
		}, alive: false, open: false},
		{name: "an answer between", verdicts: func(report func(verdict)) {
			for i := range 2 * suspicious {
				report(failed)
				if i == suspicious/2 {
					report(answered)
				}
				if i == suspicious {
					report(answered)
				}
			}
		}, alive: false, open: false},
		{name: "what callers end", verdicts: func(report func(verdict)) {
			for range 2 * suspicious {
				report(saysNothing)
			}
		}, alive: false, open: false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := healthOf(t, func(context.Context) bool { return row.alive })
				row.verdicts(h.report)
				synctest.Wait()
				if got := h.isOpen(); got != row.open {
					t.Errorf("open: %t, want %t", got, row.open)
				}
				synctest.Wait()
			})
		})
	}
}

// Several probes go out, so that a slow one or two do not hold the circuit, open or closed.
func TestHealth_SlowProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probes := 0
		probe := make(chan int, 1)
		probe <- 0
		h := healthOf(t, func(ctx context.Context) bool {
			probes = <-probe + 1
			n := probes
			probe <- n
			if n%3 != 0 { // of three, one answers
				<-ctx.Done()
				return false
			}
			return true
		})
		for range suspicious {
			h.report(failed)
		}
		time.Sleep(2 * probeTimeout)
		if h.isOpen() {
			t.Error("open, although one of three probes was answered")
		}
		h.mu.Lock()
		h.setOpen(true)
		h.mu.Unlock()
		start := time.Now()
		for h.isOpen() {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took > 3*probeEvery {
			t.Errorf("closed after %s", took)
		}
		time.Sleep(2 * probeTimeout)
	})
}

func TestHealth_ProbeThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := healthOf(t, func(context.Context) bool { panic("bug") })
		for range suspicious {
			h.report(failed)
		}
		synctest.Wait()
		if !h.isOpen() {
			t.Error("closed, although no probe was answered")
		}
		synctest.Wait()
	})
}
