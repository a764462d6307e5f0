package job

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"
)

// status is what GitLab has said of a job of which only the id is known: one that logged in through another instance, or
// before this one started, or not at all. asked is when GitLab was asked last, and answered says whether it could tell.
type status struct {
	asked     time.Duration
	answered  bool
	confirmed Fact[time.Duration] // when GitLab was asked that last said that the job runs
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

// askStatus asks as often as the job's freshness wants. The error is a *RejectedError; trouble is none.
func (r *Registry) askStatus(ctx context.Context, j ByID, s *Settings) error {
	if known, ok := r.statuses.Get(j.key()); ok {
		f := s.freshness()
		if !known.answered {
			f = freshness{freshFor: f.pauseAfterTrouble(0)} // trouble is asked about again sooner
		}
		switch f.judge(r.clock.elapsed()-known.asked, false) {
		case serve:
			return nil
		case serveAndRefresh:
			r.fetchStatus(ctx, j)
			return nil
		}
	}
	result, _ := wait(ctx, r.fetchStatus(ctx, j), maxWait)
	var rejected *RejectedError
	if errors.As(result.Err, &rejected) {
		return rejected
	}
	return nil
}

// isConfirmed says whether GitLab's last confirmation may still serve.
func (r *Registry) isConfirmed(j ByID, s *Settings) bool {
	known, ok := r.statuses.Get(j.key())
	return ok && known.confirmed.Known && s.freshness().judge(r.clock.elapsed()-known.confirmed.Value, false) != unusable
}

func (r *Registry) fetchStatus(ctx context.Context, j ByID) <-chan singleflight.Result {
	return r.once(ctx, "status of "+strconv.FormatInt(j.ID, 10)+string(rune(j.Kind)), func(ctx context.Context) (any, error) {
		now := &status{asked: r.clock.elapsed()}
		text, err := r.sources.Load().Statuses.Status(ctx, j.ProjectID, j.ID, Refreshes)
		if err == nil && !isRunning(text, j.Kind) {
			err = &RejectedError{Rejection: NotRunning}
		}
		var rejected *RejectedError
		if errors.As(err, &rejected) {
			r.ended.Add(j.key(), rejected)
			r.statuses.Remove(j.key())
			return nil, err
		}
		if now.answered = err == nil; now.answered {
			now.confirmed = KnownFact(now.asked)
		} else if before, ok := r.statuses.Peek(j.key()); ok {
			now.confirmed = before.confirmed
		}
		r.statuses.Add(j.key(), now)
		return nil, err
	})
}

// isRunning reads GitLab's status of a job. A job token is good while the job is being canceled; an ID token is not.
func isRunning(text string, kind Kind) bool {
	return text == StatusRunning || (kind == JobToken && text == StatusCanceling)
}
