package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/jobgate/jobgate/internal/config"
)

// Bounds that docs/operations.md and docs/security.md promise.
const (
	// yesAfterEnd is how long a job may be let in after its end: cache.freshFor, and the second that the API server remembers.
	// The rest is for the machine: the bound is on when a request was sent.
	slack = 2 * time.Second
	// GitLab's health is noticed by a probe, twice a second, and Retry-After is obeyed.
	afterGitLab = 5 * time.Second
	// What a killed instance was answering is lost; the API server then dials again.
	afterKill = 5 * time.Second
	// The API server reads client.pem every 5 minutes, and then closes its connections to jobgate.
	afterRenewal = 5*time.Minute + 10*time.Second
	// Memory that caches, buffers and Go keep.
	keptMemory = 128 << 20
	// Goroutines and descriptors of connections that stay open between the API server and jobgate.
	keptOpen = 40
)

// trouble is a declared window, in which some requests may fail.
type trouble int

const (
	gitlabAway trouble = iota // first logins
	killed                    // everything, for a moment
	renewed                   // what is under way when the API server reads the certificate
)

type window struct {
	what     trouble
	from, to time.Time
}

// ledger counts what happened, and keeps what must not have happened.
type ledger struct {
	mu      sync.Mutex
	begun   time.Time
	windows []window

	running, logins, ended, watches int
	declared                        map[trouble]int // failures within windows
	slowestEnd                      time.Duration   // from a job's end to its refusal, without trouble of GitLab
	refused, failedLogins           []string
	yesTooLate, brokenWatches       int
	renewalFailures                 []time.Time
}

func newLedger() *ledger { return &ledger{begun: time.Now(), declared: map[trouble]int{}} }

// declare opens a window; end closes it, some time later.
func (l *ledger) declare(what trouble) (end func(after time.Duration)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.windows)
	l.windows = append(l.windows, window{what: what, from: time.Now(), to: time.Now().Add(time.Hour)})
	return func(after time.Duration) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.windows[n].to = time.Now().Add(after)
	}
}

// excuse is the first of these troubles that was there at the time.
func (l *ledger) excuse(from, to time.Time, of ...trouble) (trouble, bool) {
	for _, what := range of {
		if slices.ContainsFunc(l.windows, func(w window) bool {
			return w.what == what && !w.from.After(to) && !w.to.Before(from)
		}) {
			return what, true
		}
	}
	return 0, false
}

// failed counts a failure under the first of these troubles that was there, and says whether there was one.
func (l *ledger) failed(begun time.Time, of ...trouble) bool {
	now := time.Now()
	what, excused := l.excuse(begun, now, of...)
	if excused {
		l.declared[what]++
	}
	if excused && what == renewed {
		l.renewalFailures = append(l.renewalFailures, now)
	}
	return excused
}

func (l *ledger) ofRunning(begun time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running++
	if err != nil && !errors.Is(err, context.Canceled) && !l.failed(begun, killed, renewed) {
		l.refused = append(l.refused, l.line(err))
	}
}

func (l *ledger) ofLogin(begun time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logins++
	if err != nil && !errors.Is(err, context.Canceled) && !l.failed(begun, gitlabAway, killed, renewed) {
		l.failedLogins = append(l.failedLogins, l.line(err))
	}
}

// ofEnded takes an answer to a job that has ended, and says whether it was a refusal.
func (l *ledger) ofEnded(ended, begun time.Time, err error) (isRefused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
	var refused *refusedError
	if errors.As(err, &refused) && (refused.status == http.StatusForbidden || refused.status == http.StatusUnauthorized) {
		if _, excused := l.excuse(ended, begun, gitlabAway); !excused {
			l.slowestEnd = max(l.slowestEnd, begun.Sub(ended))
		}
		return true
	}
	if err != nil {
		return false // neither yes nor no
	}
	deadline := ended.Add(config.Default().Cache.FreshFor.Duration + time.Second + slack)
	for _, w := range l.windows {
		if w.what == gitlabAway && !w.from.After(deadline) && w.to.After(ended) {
			deadline = w.to.Add(deadline.Sub(ended)) // the last good answer stays in force while GitLab is away
		}
	}
	if begun.After(deadline) {
		l.yesTooLate++
	}
	return false
}

func (l *ledger) ofWatch(isBroken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watches++
	if isBroken {
		l.brokenWatches++
	}
}

func (l *ledger) line(err error) string {
	return fmt.Sprintf("%4.0f s: %v", time.Since(l.begun).Seconds(), err)
}

const tellEvery = 10 * time.Second

// tell prints how it goes.
func (l *ledger) tell(ctx context.Context, in *installation) {
	ticker := time.NewTicker(tellEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		fmt.Printf("%4.0f s  %6d requests of running jobs, %d refused; %5d logins, %d failed; %d yes too late; %d calls to GitLab\n",
			time.Since(l.begun).Seconds(), l.running, len(l.refused), l.logins, len(l.failedLogins), l.yesTooLate, in.calls())
		l.mu.Unlock()
	}
}

// say prints a disturbance.
func (l *ledger) say(format string, args ...any) {
	fmt.Printf("%4.0f s  -- %s\n", time.Since(l.begun).Seconds(), fmt.Sprintf(format, args...))
}

var errBroken = errors.New("an invariant was broken")

// shown bounds the lines of one kind of failure.
const shown = 10

func (l *ledger) report(out io.Writer, before, after usage, calls int, length time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := config.Default().GitLab.RateLimit
	mostCalls := 2 * (float64(limit.RequestsPerSecond)*length.Seconds() + float64(limit.Burst))
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	isBroken := false
	row := func(what string, isKept bool, format string, args ...any) {
		verdict := "kept"
		if !isKept {
			verdict, isBroken = "BROKEN", true
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", what, fmt.Sprintf(format, args...), verdict)
	}
	row("no request of a running job refused", len(l.refused) == 0, "%d of %d; %d in declared windows",
		len(l.refused), l.running, l.declared[killed]+l.declared[renewed])
	row("no login failed while GitLab was well", len(l.failedLogins) == 0, "%d of %d; %d while GitLab was away",
		len(l.failedLogins), l.logins, l.declared[gitlabAway])
	row("no yes after a job's bound", l.yesTooLate == 0, "%d of %d requests after the end; the last refusal after %.1f s",
		l.yesTooLate, l.ended, l.slowestEnd.Seconds())
	row("no watch ended early", l.brokenWatches == 0, "%d of %d", l.brokenWatches, l.watches)
	row("one moment of failures for a renewal", l.moments() <= l.count(renewed), "%d moments, %d renewals", l.moments(), l.count(renewed))
	row("calls to GitLab within the rate of two instances", float64(calls) <= mostCalls, "%d, at most %.0f", calls, mostCalls)
	row("memory back", after.memory <= before.memory+keptMemory, "%.0f MiB before, %.0f MiB after", before.memory/(1<<20), after.memory/(1<<20))
	row("goroutines back", after.goroutines <= before.goroutines+keptOpen, "%.0f before, %.0f after", before.goroutines, after.goroutines)
	row("descriptors back", after.descriptors <= before.descriptors+keptOpen, "%.0f before, %.0f after", before.descriptors, after.descriptors)
	fmt.Fprintln(out)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, lines := range [][]string{l.refused, l.failedLogins} {
		for _, line := range lines[:min(len(lines), shown)] {
			fmt.Fprintln(out, line)
		}
	}
	if isBroken {
		return errBroken
	}
	return nil
}

func (l *ledger) count(what trouble) (n int) {
	for _, w := range l.windows {
		if w.what == what {
			n++
		}
	}
	return n
}

// moments are the seconds in which requests failed because of a renewed certificate.
func (l *ledger) moments() (n int) {
	slices.SortFunc(l.renewalFailures, time.Time.Compare)
	last := time.Time{}
	for _, at := range l.renewalFailures {
		if at.Sub(last) > 2*time.Second {
			n++
		}
		last = at
	}
	return n
}
