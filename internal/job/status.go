package job

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"
)

// status is when GitLab last confirmed a job of which only the id is known: one that logged in through another instance,
// or before this one started. at is when GitLab was asked; confirmed is false where it could not tell.
type status struct {
	at        time.Duration
	confirmed bool
}

// confirmByID asks GitLab about a job that this registry has not seen. The error is a *RejectedError for one that has
// ended, else ErrUnknown: the job is then judged by what its identity says.
func (r *Registry) confirmByID(ctx context.Context, j ByID) error {
	if rejected, ok := r.ended.Get(j.key()); ok {
		return rejected
	}
	if !r.sources.Load().Statuses.CanAsk() {
		return ErrUnknown
	}
	s := r.settings.Load()
	if known, ok := r.statuses.Get(j.key()); ok {
		f := s.freshness()
		if !known.confirmed {
			f = freshness{freshFor: f.pauseAfterTrouble(0)} // trouble is asked about again sooner
		}
		switch f.judge(r.clock.elapsed()-known.at, false) {
		case serve:
			return ErrUnknown
		case serveAndRefresh:
			r.fetchStatus(j)
			return ErrUnknown
		}
	}
	result, _ := wait(ctx, r.fetchStatus(j), maxWait)
	var rejected *RejectedError
	if errors.As(result.Err, &rejected) {
		return rejected
	}
	return ErrUnknown
}

func (r *Registry) fetchStatus(j ByID) <-chan singleflight.Result {
	return r.once("status of "+strconv.FormatInt(j.ID, 10)+string(rune(j.Kind)), func(ctx context.Context) (any, error) {
		at := r.clock.elapsed()
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
		r.statuses.Add(j.key(), &status{at: at, confirmed: err == nil})
		return nil, err
	})
}

// isRunning reads GitLab's status of a job. A job token is good while the job is being canceled; an ID token is not.
func isRunning(text string, kind Kind) bool {
	return text == StatusRunning || (kind == JobToken && text == StatusCanceling)
}
