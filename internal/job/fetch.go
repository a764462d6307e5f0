package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/jobgate/jobgate/internal/tracing"
)

const (
	// maxPause bounds how long a source's wish to be left alone keeps one job from being looked up.
	maxPause = time.Minute
	// timedOutPause is how long a credential whose lookup got no answer is left alone, so that a token that makes GitLab
	// slow cannot hold a place among the requests all the time.
	timedOutPause = 5 * time.Second
)

// fetch looks a credential up, once for all who ask at the same time, and files what it learns. The lookup belongs to
// the registry and not to the caller: it goes on when the caller leaves. Its value is the job's *entry. e is what is refreshed,
// nil for a credential that is not known. It may have left the cache meanwhile: an ID token is known by its entry alone.
func (r *Registry) fetch(ctx context.Context, k key, c Credential, lane Lane, e *entry) <-chan singleflight.Result {
	return r.once(ctx, string(k[:]), func(ctx context.Context) (any, error) {
		r.metrics.asked.Inc()
		s, sources := r.settings.Load(), r.sources.Load()
		a := &answer{at: r.clock.elapsed(), revision: s.Revision, sources: sources}
		var before *answer
		if known, ok := r.jobs.Peek(k); ok {
			e = known
		}
		if e != nil {
			before = e.answer.Load()
			e.began.Store(int64(a.at))
			defer e.began.Store(0)
		}
		// A source may rely on an earlier verification, so an end that has passed meanwhile is noticed here.
		if c.hasExpired(r.clock.now()) {
			return nil, r.fileError(k, &RejectedError{Rejection: Expired}, s)
		}
		identified, err := sources.identify(ctx, c, before, lane)
		r.outage.met(err, lane)
		if err != nil {
			return nil, r.fileError(k, err, s)
		}
		a.job = identified
		if c.Kind == JobToken {
			l := learner{source: sources.Facts, token: c.Token}
			a.job = l.learn(ctx, identified, factsOf(before, a), s.Needs(identified))
		}
		return r.fileJob(k, c, a), nil
	})
}

// once runs one lookup for all who ask for the same at the same time, within Timeout. A panic in it becomes an error. Of the
// caller's context it takes the trace alone.
func (r *Registry) once(caller context.Context, name string, lookup func(context.Context) (any, error)) <-chan singleflight.Result {
	return r.lookups.DoChan(name, func() (value any, err error) {
		r.running.Add(1)
		defer r.running.Done()
		ctx, cancel := context.WithTimeout(r.lifetime, r.settings.Load().Timeout)
		defer cancel()
		ctx, span := tracing.Start(tracing.Carry(caller, ctx), "lookup")
		defer func() { span.End(resultOf(err)) }()
		err = recovered(func() (err error) {
			value, err = lookup(ctx)
			return err
		})
		return value, err
	})
}

// resultOf is a lookup's result for its span, and whether it is a failure.
func resultOf(err error) (result string, failed bool) {
	var rejected *RejectedError
	switch {
	case err == nil:
		return "answered", false
	case errors.As(err, &rejected):
		return "rejected", false
	}
	return "undecided", true
}

// recovered turns a panic into an error.
func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold anything, a token included; the stack holds only places.
			err = fmt.Errorf("%w (%T) at %s", ErrPanic, p, debug.Stack())
		}
	}()
	return f()
}

func (s *Sources) identify(ctx context.Context, c Credential, before *answer, lane Lane) (*Job, error) {
	source := s.JobTokens
	if c.Kind == IDToken {
		source = s.IDTokens
	}
	var last *Job
	if before != nil {
		last = before.job
	}
	return source.Identify(ctx, c.Token, last, lane)
}

// factsOf is the job whose facts an earlier answer has learned; nil where there is none. What could not be learned from
// other sources, or for other rules, may be now.
func factsOf(before, now *answer) *Job {
	if before == nil || before.job.ID != now.job.ID {
		return nil
	}
	if before.sources == now.sources && before.revision == now.revision {
		return before.job
	}
	retried := *before.job
	retried.forgetReasons()
	return &retried
}

func (r *Registry) fileJob(k key, c Credential, a *answer) *entry {
	j := jobKey{id: a.job.ID, kind: c.Kind}
	e, ok := r.jobs.Peek(k)
	if !ok || e.job != j {
		r.jobs.Remove(k)
		if c.Kind == IDToken {
			c.Token = "" // verified once and not asked for again; the job's ids are enough
		}
		e = &entry{job: j, credential: c}
	}
	e.answer.Store(a)
	e.notBefore.Store(0)
	r.ended.Remove(j) // it may be another token of the job that has ended
	// The index first: if the cache is full of busier jobs, adding may evict, and evicting cleans the index.
	r.index.add(j, k)
	r.jobs.Add(k, e)
	return e
}

// fileError drops what a definite rejection has disproved, and remembers it. Trouble leaves the job alone. It returns the
// error, with the job that a rejected credential was known for.
func (r *Registry) fileError(k key, err error, s *Settings) error {
	now := r.clock.elapsed()
	var rejected *RejectedError
	if errors.As(err, &rejected) {
		if e, ok := r.jobs.Peek(k); ok {
			known := *rejected
			known.Job = e.answer.Load().job
			err = &known
			r.ended.Add(e.job, &known)
			r.jobs.Remove(k)
		}
		if !rejected.Fleeting {
			r.refused.Add(k, refusal{err: err, until: now + s.RejectedFor})
		}
		return err
	}
	var pause time.Duration
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		pause = min(unavailable.RetryAfter, maxPause)
		if unavailable.TimedOut {
			pause = max(pause, timedOutPause)
		}
	}
	if e, ok := r.jobs.Peek(k); ok {
		e.notBefore.Store(int64(now + s.freshness().pauseAfterTrouble(pause)))
	} else if pause > 0 {
		r.refused.Add(k, refusal{err: err, until: now + pause})
	}
	return err
}

// refresh starts a refresh of the entry, or joins the one on its way. It returns nil while the next one must not begin
// yet. patience is what is left of the second that callers wait from the refresh's start.
func (r *Registry) refresh(ctx context.Context, k key, e *entry) (_ <-chan singleflight.Result, patience time.Duration) {
	now := r.clock.elapsed()
	if int64(now) < e.notBefore.Load() {
		return nil, 0
	}
	patience = maxWait
	if began := e.began.Load(); began != 0 {
		patience -= now - time.Duration(began)
	}
	return r.fetch(ctx, k, e.credential, Refreshes, e), patience
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
