package gitlab

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/tracing"
)

// How one lookup is retried. Five attempts with doubling, jittered pauses take about three seconds when GitLab answers
// at once, which outlasts a restart of one GitLab process and stays far inside any timeout a user would set.
const (
	maxAttempts          = 5
	defaultRetryInterval = 200 * time.Millisecond
	maxRetryInterval     = 2 * time.Second
	retryJitter          = 0.5
	// maxAttemptTimeout bounds one attempt. It is half of a lookup's timeout where that is short.
	maxAttemptTimeout = 3 * time.Second
)

// get asks one endpoint until there is a definite answer, the attempts are used up, or the client's timeout has passed.
// read turns a 200 into a value; its error makes the answer a useless one, which is asked for again. An attempt that got
// no answer in time is not repeated: a question that hangs would only hang again.
//
// The error is GitLab's definite no (isDefinite) or a *job.UnavailableError.
func get[T any](ctx context.Context, c *Client, r request, read func(*answer) (T, error)) (T, error) {
	if r.credential == (credential{}) && !r.anonymous {
		var none T
		return none, c.unavailable(r, 0, ErrNoCredential)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	attempts, last := 0, error(nil)
	op := func() (T, error) {
		attempts++
		value, err := attempt(ctx, c, r, read)
		// What went wrong with GitLab says more than that there was no time to try again.
		isNoPlace := errors.Is(err, ErrNoPlace)
		if last == nil || !isNoPlace {
			last = err
		}
		if isDefinite(err) || isNoPlace || isTimeout(err) {
			return value, backoff.Permanent(err)
		}
		return value, err
	}
	pauses := &backoff.ExponentialBackOff{
		InitialInterval:     c.retryInterval,
		RandomizationFactor: retryJitter,
		Multiplier:          2,
		MaxInterval:         maxRetryInterval,
	}
	value, err := backoff.Retry(ctx, op,
		backoff.WithBackOff(pauses), backoff.WithMaxTries(maxAttempts), backoff.WithMaxElapsedTime(c.timeout))
	if err == nil || isDefinite(err) {
		return value, err
	}
	return value, c.unavailable(r, attempts, last)
}

// attempt waits for a place and makes one request, which has its own timeout.
func attempt[T any](ctx context.Context, c *Client, r request, read func(*answer) (T, error)) (T, error) {
	place, err := c.lanes.enter(ctx, r.queue, c.attemptTimeout)
	if err != nil {
		var none T
		return none, err
	}
	defer place.leave()
	limited, cancel := context.WithTimeout(ctx, c.attemptTimeout)
	defer cancel()
	limited, span := tracing.StartCall(limited, r.endpoint)
	start := time.Now()
	value, err := roundTrip(limited, c, r, read)
	span.End(result(err), err != nil && !isDefinite(err))
	c.health.report(judge(ctx, err))
	c.metrics.observe(r.endpoint, err, time.Since(start))
	return value, err
}

func (c *Client) unavailable(r request, attempts int, err error) *job.UnavailableError {
	u := &RequestError{URL: c.base.JoinPath(r.endpoint).String(), Attempts: attempts, Err: err}
	result := &job.UnavailableError{Err: u, TimedOut: isTimeout(err)}
	var answer *answerError
	if errors.As(err, &answer) {
		u.Status, result.RetryAfter = answer.status, answer.retryAfter
	}
	return result
}
