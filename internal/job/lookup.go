package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Credential is what a job shows.
type Credential struct {
	Kind  Kind
	Token string
	// Expires is when the token says that it ends; zero if it does not say.
	Expires time.Time
}

// hasExpired compares the end that the token states with the wall clock.
func (c *Credential) hasExpired(now time.Time) bool {
	return !c.Expires.IsZero() && !now.Before(c.Expires)
}

// Kind tells credentials apart.
type Kind byte

// The kinds of credentials.
const (
	JobToken Kind = iota
	IDToken
)

// Answer is what a lookup returns.
type Answer struct {
	Job *Job
	// Stale is true when the answer is past its freshness and the source could not be asked in time.
	Stale bool

	logged *atomic.Bool
}

// RecordOnce calls record for the first use of a known job, once in all if it returns true, which says that it has kept
// the record. A record that was dropped is tried again with the next use.
func (a Answer) RecordOnce(record func() (kept bool)) {
	// The plain read first: after the first use it spares every request a write to a shared cache line.
	if a.logged == nil || a.logged.Load() || !a.logged.CompareAndSwap(false, true) {
		return
	}
	if !record() {
		a.logged.Store(false)
	}
}

// entry is one known job. It lives as long as its place in the cache; its answer is replaced by refreshes.
type entry struct {
	job        jobKey
	credential Credential // kept to refresh by; leaves memory with the entry
	answer     atomic.Pointer[answer]
	// began and notBefore steer refreshes, on the registry's clock: when the one on its way began (0: none is), and when
	// the next one may.
	began     atomic.Int64
	notBefore atomic.Int64
	logged    atomic.Bool
}

// answer is what a source said, and what bounds its use.
type answer struct {
	job      *Job
	at       time.Duration // when the source was asked, not when it answered: the job may have ended in between
	revision string
	sources  *Sources
}

// maxWaiting bounds the callers with a kind of credential that wait to hear whose it is. Each holds some 20 KiB of a
// request. Each kind has its bound, because ID tokens need not wait for GitLab while unknown job tokens do.
const maxWaiting = 2048

// ErrTooManyWaiting is in the chain of the error for a caller that would have had to wait behind too many others.
var ErrTooManyWaiting = errors.New("too many logins wait for GitLab")

// refusal is what was learned of a credential that represents no job: a rejection, or a reason to leave it alone.
type refusal struct {
	err   error
	until time.Duration
}

// Lookup returns the job behind a credential.
//
//   - A fresh answer is returned at once; in the last fifth of its freshness it also starts a refresh.
//   - An answer past its freshness waits for a refresh, at most a second from the refresh's start, then serves as stale.
//   - Otherwise the caller waits for the source, as long as its context allows.
//
// The error is the source's, or the context's. A *RejectedError is definite and remembered for RejectedFor.
func (r *Registry) Lookup(ctx context.Context, c Credential) (Answer, error) {
	k := r.key(c)
	if e, ok := r.jobs.Get(k); ok {
		if a, ok, err := r.use(ctx, k, e); ok || err != nil {
			return a, err
		}
	}
	if m, ok := r.refused.Get(k); ok && r.clock.elapsed() < m.until {
		r.metrics.remembered.Inc()
		return Answer{}, m.err
	}
	// Only those who wait are bounded: a known job is answered above, however many logins wait.
	waiting := r.waiting[c.Kind]
	if !waiting.TryAcquire(1) {
		return Answer{}, &UnavailableError{Err: ErrTooManyWaiting}
	}
	defer waiting.Release(1)
	select {
	case result := <-r.fetch(ctx, k, c, Logins, nil):
		if result.Err != nil {
			return Answer{}, result.Err
		}
		return answerFrom(result.Val.(*entry), false), nil
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("wait for GitLab: %w", context.Cause(ctx))
	}
}

// ByID names a job that an identity claims to be.
type ByID struct {
	ID, ProjectID int64
	// Kind is what the job has logged in with.
	Kind Kind
	// NotLoggedIn says that no jobgate has logged the job in: kube-apiserver has verified its ID token by itself, so no one has
	// asked GitLab yet whether it runs.
	NotLoggedIn bool
}

func (j ByID) key() jobKey { return jobKey{id: j.ID, kind: j.Kind} }

func (j ByID) statusKey() statusKey { return statusKey{jobKey: j.key(), project: j.ProjectID} }

// LookupID is Lookup for a job by its id. It never waits for more than a second.
//
// The error is a *RejectedError for a job that has ended, ErrUnconfirmed for one that is known but has not been confirmed
// for longer than an answer may serve, and ErrUnknown for one that this registry has not seen. Of the latter GitLab is
// asked by the id, where there is an access token to ask with; trouble there changes nothing for a job that has logged in. One
// that has not must be confirmed where liveness is required: else the error is ErrUnconfirmed, or ErrCannotConfirm.
func (r *Registry) LookupID(ctx context.Context, j ByID) (Answer, error) {
	k, ok := r.index.find(j.key())
	if !ok {
		return Answer{}, r.confirmByID(ctx, j)
	}
	e, ok := r.jobs.Get(k)
	if !ok {
		return Answer{}, r.confirmByID(ctx, j)
	}
	if a, ok, err := r.use(ctx, k, e); ok || err != nil {
		return a, err
	}
	return r.confirm(ctx, k, e)
}

// confirm asks about a known job whose last answer is too old to serve.
func (r *Registry) confirm(ctx context.Context, k key, e *entry) (Answer, error) {
	refresh, patience := r.refresh(ctx, k, e)
	if refresh == nil || patience <= 0 {
		return Answer{}, ErrUnconfirmed
	}
	result, settled := wait(ctx, refresh, patience)
	var rejected *RejectedError
	switch {
	case errors.As(result.Err, &rejected):
		return Answer{}, result.Err
	case !settled || result.Err != nil:
		return Answer{}, fmt.Errorf("%w: %w", ErrUnconfirmed, cmp.Or(result.Err, context.DeadlineExceeded))
	}
	return answerFrom(result.Val.(*entry), false), nil
}

// use serves a known job as far as the rules of freshness allow. It is not ok when the answer is too old to help.
func (r *Registry) use(ctx context.Context, k key, e *entry) (a Answer, ok bool, err error) {
	s, known := r.settings.Load(), e.answer.Load()
	if e.credential.hasExpired(r.clock.now()) {
		return Answer{}, false, nil
	}
	switch s.freshness().judge(r.clock.elapsed()-known.at, known.revision != s.Revision) {
	case unusable:
		return Answer{}, false, nil
	case serveAndRefresh:
		r.refresh(ctx, k, e)
		fallthrough
	case serve:
		r.metrics.fresh.Inc()
		return answerFrom(e, false), true, nil
	}
	if refresh, patience := r.refresh(ctx, k, e); refresh != nil && patience > 0 {
		result, settled := wait(ctx, refresh, patience)
		var rejected *RejectedError
		if errors.As(result.Err, &rejected) {
			return Answer{}, false, result.Err
		}
		if settled && result.Err == nil {
			return answerFrom(result.Val.(*entry), false), true, nil
		}
	}
	r.metrics.stale.Inc()
	r.outage.served(s.StaleFor)
	return answerFrom(e, true), true, nil
}

func answerFrom(e *entry, stale bool) Answer {
	return Answer{Job: e.answer.Load().job, Stale: stale, logged: &e.logged}
}
