package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// Urgency orders the requests that compete for the rate limit and for places.
type Urgency int

const (
	// Login is a job nobody knows yet: its kubectl waits. Logins queue in order.
	Login Urgency = iota
	// Refresh renews what is known of a job that can go on meanwhile. It takes only what no login is waiting for.
	Refresh
)

// refreshPoll is how often a waiting refresh looks whether it may go.
const refreshPoll = 50 * time.Millisecond

// The breaker opens after this many requests in a row that GitLab did not answer, and then lets a few try every
// two seconds. Attempts that it holds back count as attempts of their lookup, so most lookups live to see the next try.
const (
	breakerFailures = 10
	breakerOpenFor  = 2 * time.Second
	breakerProbes   = 3
)

// gate is what every attempt passes: the rate limit, then a place among the requests in flight.
type gate struct {
	limiter *rate.Limiter
	places  *semaphore.Weighted
}

// enter returns when the request may be sent; leave gives its place back. The error wraps ErrNoPlace.
//
// How many can wait is bounded by the limiter itself: it turns away at once whoever would have to wait past the
// deadline, so at most Burst + RequestsPerSecond * Timeout logins are inside.
func (g *gate) enter(ctx context.Context, urgency Urgency) (leave func(), err error) {
	if urgency == Refresh {
		err = g.enterBehindLogins(ctx)
	} else if err = g.limiter.Wait(ctx); err == nil {
		err = g.places.Acquire(ctx, 1)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoPlace, err)
	}
	return func() { g.places.Release(1) }, nil
}

// enterBehindLogins relies on two properties of what logins wait in: a queue of logins leaves the bucket below zero,
// and TryAcquire fails while anybody waits in Acquire.
func (g *gate) enterBehindLogins(ctx context.Context) error {
	try := func() (struct{}, error) {
		if !g.places.TryAcquire(1) {
			return struct{}{}, errors.New("all places are taken")
		}
		if !g.limiter.Allow() {
			g.places.Release(1)
			return struct{}{}, errors.New("the rate limit is used up")
		}
		return struct{}{}, nil
	}
	_, err := backoff.Retry(ctx, try,
		backoff.WithBackOff(backoff.NewConstantBackOff(refreshPoll)), backoff.WithMaxElapsedTime(0))
	return err
}

func newBreaker(m *Metrics) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	m.setCircuit(false)
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         "gitlab",
		MaxRequests:  breakerProbes,
		Timeout:      breakerOpenFor,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		IsSuccessful: func(err error) bool { return !isDown(err) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			m.setCircuit(to == gobreaker.StateOpen)
		},
	})
}

// isDown tells trouble with GitLab as a whole from trouble with one job's answer. A 500 or a 429 must not count: an
// agent's author can cause a 500 at will with a broken wildcard, and a user a 429, and neither may cut off everyone else.
func isDown(err error) bool {
	var transport *transportError
	if errors.As(err, &transport) {
		return true
	}
	var answer *answerError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}
