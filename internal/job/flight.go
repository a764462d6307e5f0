package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/jobgate/jobgate/internal/gitlab"
)

// ErrPanic is in the chain of the error for a lookup that panicked: a bug, which must cost one login and not the process.
var ErrPanic = errors.New("lookup panicked")

// ask looks a token up, once for all who ask at the same time, and files what it learns. The lookup belongs to the
// registry and not to the caller: it goes on when the caller leaves. Its value is the job's *entry.
func (r *Registry) ask(k key, token string, expires time.Time, urgency gitlab.Urgency) <-chan singleflight.Result {
	return r.flights.DoChan(string(k[:]), func() (value any, err error) {
		r.running.Add(1)
		defer r.running.Done()
		defer func() {
			if p := recover(); p != nil {
				// The value may hold anything, a token included; the stack holds only places.
				err = fmt.Errorf("%w (%T) at %s", ErrPanic, p, debug.Stack())
			}
		}()
		r.metrics.asked.Inc()
		s := r.settings.Load()
		n := &known{at: time.Now(), expires: expires, served: s.served, source: r.source.Load()}
		var before *known
		if e, ok := r.jobs.Peek(k); ok {
			before = e.known.Load()
			e.began.Store(n.at.UnixNano())
			defer e.began.Store(0)
		}
		ctx, cancel := context.WithTimeout(r.lifetime, s.Timeout)
		defer cancel()
		reply, err := (*n.source).AllowedAgents(ctx, token, urgency)
		if err != nil {
			r.fileError(k, err, s)
			return nil, err
		}
		n.job = newJob(reply, s.served)
		l := learner{source: *n.source, token: token, job: n.job}
		n.job.Facts = l.learn(ctx, n.factsBefore(before), n.job.needs(s.served))
		return r.fileJob(k, token, n), nil
	})
}

// factsBefore are what an earlier answer taught about the same job. What could not be learnt from another source may be
// from this one.
func (n *known) factsBefore(before *known) Facts {
	if before == nil || before.job.ID != n.job.ID {
		return Facts{}
	}
	facts := before.job.Facts
	if before.source != n.source {
		facts.EnvironmentUnknown, facts.ProtectionUnknown = "", ""
	}
	return facts
}

func (r *Registry) fileJob(k key, token string, n *known) *entry {
	if e, ok := r.jobs.Peek(k); ok && e.id == n.job.ID {
		e.known.Store(n)
		e.notBefore.Store(0)
		return e
	}
	r.jobs.Remove(k)
	r.ended.Remove(n.job.ID)
	e := &entry{id: n.job.ID, token: token}
	e.known.Store(n)
	// The index first: if the cache is full of busier jobs, adding may evict, and evicting cleans the index.
	r.index.add(e.id, k)
	r.jobs.Add(k, e)
	return e
}

// fileError drops what a definite rejection has disproved, and remembers it. Trouble leaves the job alone.
func (r *Registry) fileError(k key, err error, s *settings) {
	now := time.Now()
	var rejected *gitlab.RejectedError
	if errors.As(err, &rejected) {
		if e, ok := r.jobs.Peek(k); ok {
			r.ended.Add(e.id, rejected)
			r.jobs.Remove(k)
		}
		r.memos.Add(k, memo{err: err, until: now.Add(s.RejectedFor)})
		return
	}
	pause := time.Duration(0)
	var unavailable *gitlab.UnavailableError
	if errors.As(err, &unavailable) {
		pause = min(unavailable.RetryAfter, maxPause)
	}
	if e, ok := r.jobs.Peek(k); ok {
		// A fifth of the freshness, the same stretch in which a refresh runs ahead: often enough to notice that GitLab is
		// back, seldom enough not to hold it down.
		e.notBefore.Store(now.Add(max(pause, s.FreshFor/5)).UnixNano())
	} else if pause > 0 {
		r.memos.Add(k, memo{err: err, until: now.Add(pause)})
	}
}

// refresh starts a refresh of the entry, or joins the one on its way. It returns nil while the next one must not begin
// yet. patience is what is left of the second that callers wait from the refresh's start.
func (r *Registry) refresh(k key, e *entry, now time.Time) (_ <-chan singleflight.Result, patience time.Duration) {
	if now.UnixNano() < e.notBefore.Load() {
		return nil, 0
	}
	patience = maxWait
	if began := e.began.Load(); began != 0 {
		patience -= now.Sub(time.Unix(0, began))
	}
	return r.ask(k, e.token, e.known.Load().expires, gitlab.Refresh), patience
}

// wait waits for a refresh within patience. A refresh that has not settled by then goes on alone.
func wait(ctx context.Context, refresh <-chan singleflight.Result, patience time.Duration) (_ singleflight.Result, settled bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case result := <-refresh:
		return result, true
	case <-timer.C:
	case <-ctx.Done():
	}
	return singleflight.Result{}, false
}
