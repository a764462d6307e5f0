package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

// status is what GitLab has said of a job of which only the id is known: one that logged in through another instance, or
// before this one started, or not at all. asked is when GitLab was asked last, and answered says whether it could tell.
type status struct {
	asked     time.Duration
	answered  bool
	confirmed Fact[time.Duration] // when GitLab was asked that last said that the job runs
	rejected  *RejectedError      // GitLab's last word, where it was no
}

// freshness is that of the answer. A no is asked about again: the job may not have begun yet.
func (st *status) freshness(s *Settings) freshness {
	f := s.freshness()
	switch {
	case !st.answered:
		return freshness{freshFor: f.pauseAfterTrouble(0)} // trouble is asked about again sooner
	case st.rejected != nil:
		return freshness{freshFor: s.RejectedFor}
	}
	return f
}

// err is GitLab's last no.
func (st *status) err() error {
	if st.rejected == nil {
		return nil
	}
	return st.rejected
}

// statusKey names a job as its extras do. Anyone who may ask the API server what a user may do can write extras with the id of
// one job and another project, so what GitLab says to that is kept apart.
type statusKey struct {
	jobKey

	project int64
}

// statuses are kept in two caches, so that no number of ids that were made up pushes out a job that GitLab has confirmed.
type statuses struct {
	confirmed, others *lru.Cache[statusKey, *status]
}

func newStatuses(maxJobs, maxRejected int) (s statuses, err error) {
	if s.confirmed, err = lru.New[statusKey, *status](maxJobs); err != nil {
		return s, fmt.Errorf("make cache of %d statuses: %w", maxJobs, err)
	}
	if s.others, err = lru.New[statusKey, *status](maxRejected); err != nil {
		return s, fmt.Errorf("make cache of %d statuses that are no job's: %w", maxRejected, err)
	}
	return s, nil
}

func (s *statuses) get(k statusKey) (*status, bool) {
	if st, ok := s.confirmed.Get(k); ok {
		return st, true
	}
	return s.others.Get(k)
}

func (s *statuses) add(k statusKey, st *status) {
	into, other := s.others, s.confirmed
	if st.confirmed.Known {
		into, other = other, into
	}
	into.Add(k, st)
	other.Remove(k)
}

func (s *statuses) resize(maxJobs, maxRejected int) {
	s.confirmed.Resize(maxJobs)
	s.others.Resize(maxRejected)
}

// sweep drops confirmations from before a time. A no stays until others take its place.
func (s *statuses) sweep(before time.Duration) {
	for k, st, ok := s.confirmed.GetOldest(); ok && st.asked <= before; k, st, ok = s.confirmed.GetOldest() {
		s.confirmed.Remove(k)
	}
}

// confirmByID asks GitLab about a job that this registry has not seen. The error is a *RejectedError for one that has
// ended, else ErrUnknown: the job is then judged by what its identity says. A job that has not logged in must be confirmed.
func (r *Registry) confirmByID(ctx context.Context, j ByID) error {
	if rejected, ok := r.ended.Get(j.key()); ok {
		return rejected
	}
	s := r.settings.Load()
	mustConfirm := j.NotLoggedIn && s.RequireLiveness
	if !r.sources.Load().Statuses.CanAsk() {
		if mustConfirm {
			return ErrCannotConfirm
		}
		return ErrUnknown
	}
	if err := r.askStatus(ctx, j, s); err != nil {
		return err
	}
	if mustConfirm && !r.isConfirmed(j, s) {
		return ErrUnconfirmed
	}
	return ErrUnknown
}

// askStatus asks as often as the answer's freshness wants. The error is a *RejectedError; trouble is none, and changes nothing.
func (r *Registry) askStatus(ctx context.Context, j ByID, s *Settings) error {
	if known, ok := r.statuses.get(j.statusKey()); ok {
		switch known.freshness(s).judge(r.clock.elapsed()-known.asked, false) {
		case serve:
			return known.err()
		case serveAndRefresh:
			r.fetchStatus(ctx, j)
			return known.err()
		}
	}
	result, _ := wait(ctx, r.fetchStatus(ctx, j), maxWait)
	var rejected *RejectedError
	if errors.As(result.Err, &rejected) {
		return rejected
	}
	if known, ok := r.statuses.get(j.statusKey()); ok {
		return known.err()
	}
	return nil
}

// isConfirmed says whether GitLab's last confirmation may still serve.
func (r *Registry) isConfirmed(j ByID, s *Settings) bool {
	known, ok := r.statuses.get(j.statusKey())
	return ok && known.confirmed.Known && s.freshness().judge(r.clock.elapsed()-known.confirmed.Value, false) != unusable
}

func (r *Registry) fetchStatus(ctx context.Context, j ByID) <-chan singleflight.Result {
	k := j.statusKey()
	return r.once(ctx, fmt.Sprintf("status of %d/%d/%d", k.project, k.id, k.kind), func(ctx context.Context) (any, error) {
		now, lane := &status{asked: r.clock.elapsed()}, Strangers
		before, ok := r.statuses.get(k)
		if ok && before.confirmed.Known {
			lane = Refreshes
		}
		text, err := r.sources.Load().Statuses.Status(ctx, j.ProjectID, j.ID, lane)
		if err == nil && !isRunning(text, j.Kind) {
			err = &RejectedError{Rejection: NotRunning}
		}
		switch now.answered = err == nil || errors.As(err, &now.rejected); {
		case err == nil:
			now.confirmed = KnownFact(now.asked)
		case !now.answered && ok:
			now.confirmed, now.rejected = before.confirmed, before.rejected
		}
		r.statuses.add(k, now)
		return nil, err
	})
}

// isRunning reads GitLab's status of a job. A job token is good while the job is being canceled; an ID token is not.
func isRunning(text string, kind Kind) bool {
	return text == StatusRunning || (kind == JobToken && text == StatusCanceling)
}
