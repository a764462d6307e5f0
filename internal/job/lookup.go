package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
)

// ErrUnknown is returned by LookupID for a job that this registry has not seen, or has long forgotten.
var ErrUnknown = errors.New("job is not known here")

// ErrUnconfirmed is returned by LookupID for a job that GitLab has not confirmed for longer than an answer may serve.
var ErrUnconfirmed = errors.New("GitLab has not confirmed the job for too long")

var errNoConfigProject = fmt.Errorf("%w: config_project has no id", gitlab.ErrConfiguration)

// maxPause bounds how long the source's wish to be left alone keeps one job from being looked up.
const maxPause = time.Minute

// Answer is what a lookup returns.
type Answer struct {
	Job *Job
	// Stale is true when the answer is past its freshness and the source could not be asked in time.
	Stale bool

	used *atomic.Bool
}

// FirstUse is true for exactly one caller over the time the job is known.
func (a Answer) FirstUse() bool {
	// The plain read first: after the first use it spares every request a write to a shared cache line.
	return a.used != nil && !a.used.Load() && a.used.CompareAndSwap(false, true)
}

// entry is one known job. It lives as long as its place in the cache; its answer is replaced by refreshes.
type entry struct {
	id    int64
	token string // kept to refresh by; leaves memory with the entry
	known atomic.Pointer[known]
	// began and notBefore steer refreshes, in Unix nanoseconds: when the one on its way began (0: none is), and when the
	// next one may.
	began     atomic.Int64
	notBefore atomic.Int64
	used      atomic.Bool
}

// known is an answer and what bounds its use.
type known struct {
	job     *Job
	at      time.Time // when the source was asked, not when it answered: the job may have ended in between
	expires time.Time // the token's own end; zero for none
	served  *servedAgents
	source  *Source
}

// usable says whether the answer may be used at all, fresh or stale.
func (n *known) usable(now time.Time, s *settings) bool {
	return now.Sub(n.at) < s.FreshFor+s.StaleFor && (n.expires.IsZero() || now.Before(n.expires))
}

// memo is what was learnt of a token that stands for no job: a rejection, or a wish to be left alone.
type memo struct {
	err   error
	until time.Time
}

// Lookup returns the job behind a token. expires is when the token ends by its own word, zero if it does not say.
//
//   - A fresh answer is returned at once; in the last fifth of its freshness it also starts a refresh.
//   - An answer past its freshness waits for a refresh, at most a second from the refresh's start, then serves as stale.
//   - Otherwise the caller waits for the source, as long as its context allows.
//
// The error is the source's, or the context's. A *gitlab.RejectedError is definite and remembered for RejectedFor.
func (r *Registry) Lookup(ctx context.Context, token string, expires time.Time) (Answer, error) {
	k, now := r.key(token), time.Now()
	if e, ok := r.jobs.Get(k); ok {
		if answer, ok, err := r.use(ctx, k, e, now); ok || err != nil {
			return answer, err
		}
	}
	if m, ok := r.memos.Get(k); ok && now.Before(m.until) {
		r.metrics.remembered.Inc()
		return Answer{}, m.err
	}
	select {
	case result := <-r.ask(k, token, expires, gitlab.Login):
		if result.Err != nil {
			return Answer{}, result.Err
		}
		return answerFrom(result.Val.(*entry), false), nil
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("wait for GitLab: %w", context.Cause(ctx))
	}
}

// LookupID is Lookup for a job that was seen before, by its id. It never waits for more than a second.
//
// The error is ErrUnknown for a job never seen here, a *gitlab.RejectedError for one that has ended since, and
// ErrUnconfirmed for one that is known but has not been confirmed for longer than an answer may serve.
func (r *Registry) LookupID(ctx context.Context, id int64) (Answer, error) {
	k, ok := r.index.find(id)
	if !ok {
		if rejected, ok := r.ended.Get(id); ok {
			return Answer{}, rejected
		}
		return Answer{}, ErrUnknown
	}
	e, ok := r.jobs.Get(k)
	if !ok {
		return Answer{}, ErrUnknown
	}
	if answer, ok, err := r.use(ctx, k, e, time.Now()); ok || err != nil {
		return answer, err
	}
	return r.confirm(ctx, k, e)
}

// confirm asks about a job whose last answer is too old to serve.
func (r *Registry) confirm(ctx context.Context, k key, e *entry) (Answer, error) {
	asked, patience := r.refresh(k, e, time.Now())
	if asked == nil || patience <= 0 {
		return Answer{}, ErrUnconfirmed
	}
	result, settled := wait(ctx, asked, patience)
	var rejected *gitlab.RejectedError
	switch {
	case errors.As(result.Err, &rejected):
		return Answer{}, result.Err
	case !settled || result.Err != nil:
		return Answer{}, fmt.Errorf("%w: %w", ErrUnconfirmed, cmp.Or(result.Err, context.DeadlineExceeded))
	}
	return answerFrom(result.Val.(*entry), false), nil
}

// use applies the rules of freshness to an entry. It is not ok when the entry is too old to help.
func (r *Registry) use(ctx context.Context, k key, e *entry, now time.Time) (a Answer, ok bool, err error) {
	s, n := r.settings.Load(), e.known.Load()
	if !n.usable(now, s) {
		return Answer{}, false, nil
	}
	age := now.Sub(n.at)
	isFresh := age < s.FreshFor && n.served == s.served
	if isFresh && age < s.FreshFor/5*4 {
		r.metrics.fresh.Inc()
		return answerFrom(e, false), true, nil
	}
	refresh, patience := r.refresh(k, e, now)
	if isFresh {
		r.metrics.fresh.Inc()
		return answerFrom(e, false), true, nil
	}
	if refresh != nil && patience > 0 {
		result, settled := wait(ctx, refresh, patience)
		var rejected *gitlab.RejectedError
		if errors.As(result.Err, &rejected) {
			return Answer{}, false, result.Err
		}
		if settled && result.Err == nil {
			return answerFrom(result.Val.(*entry), false), true, nil
		}
	}
	r.metrics.stale.Inc()
	return answerFrom(e, true), true, nil
}

func answerFrom(e *entry, stale bool) Answer {
	return Answer{Job: e.known.Load().job, Stale: stale, used: &e.used}
}
