// Package gitlab is a typed client of the few GitLab endpoints that jobgate asks.
//
// It knows HTTP and GitLab's wire format: how a job token travels, which answers are GitLab's own definite refusal and
// which only say that GitLab could not be asked, and how hard GitLab may be pressed (retries, rate, places, breaker).
// It must not know Kubernetes, caching, or what an answer means for anybody's identity.
package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// How one lookup is retried. Five attempts with doubling, jittered pauses take about three seconds when GitLab answers
// at once, which outlasts a restart of one GitLab process and stays far inside any timeout a user would set.
const (
	maxAttempts          = 5
	defaultRetryInterval = 200 * time.Millisecond
	maxRetryInterval     = 2 * time.Second
	retryJitter          = 0.5
)

// Options say where GitLab is and how hard it may be pressed.
type Options struct {
	// URL is GitLab's base URL, with a relative URL root if it has one.
	URL string
	// CABundle holds PEM certificates trusted besides the system's; empty for none.
	CABundle []byte
	// AccessToken is the instance's own token (read_api), as it stands in its file: a line end is cut off. Empty for none.
	AccessToken string
	// Timeout bounds one whole lookup: waiting for a place, every page, every attempt, every pause between them.
	Timeout time.Duration
	// MaxInFlight is the number of requests that may be on their way at once.
	MaxInFlight int
	// RequestsPerSecond and Burst shape the token bucket that every attempt draws from.
	RequestsPerSecond float64
	Burst             int
	// UserAgent names this program and version to GitLab.
	UserAgent string
	// RetryInterval is the first pause between attempts; 200 ms when zero.
	RetryInterval time.Duration
	// Metrics may be nil.
	Metrics *Metrics
}

// Client asks GitLab. It is safe for concurrent use. Its settings are fixed: a changed configuration makes a new one.
type Client struct {
	base          *url.URL
	access        Credential
	http          *http.Client
	timeout       time.Duration
	retryInterval time.Duration
	userAgent     string
	gate          gate
	breaker       *gobreaker.TwoStepCircuitBreaker[struct{}]
	metrics       *Metrics
}

// New returns a client; it makes no connection yet. An error names the option that cannot be used.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("parse GitLab URL: %w", err)
	}
	if (base.Scheme != "https" && base.Scheme != "http") || base.Host == "" {
		return nil, fmt.Errorf("parse GitLab URL %q: want http(s)://host[:port][/relative/root]", base.Redacted())
	}
	access, err := newAccess(o.AccessToken)
	if err != nil {
		return nil, fmt.Errorf("read the access token: %w", err)
	}
	transport, err := newTransport(o.CABundle, o.MaxInFlight)
	if err != nil {
		return nil, err
	}
	if o.RetryInterval == 0 {
		o.RetryInterval = defaultRetryInterval
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Client{
		base:   base,
		access: access,
		http: &http.Client{
			Transport: transport,
			// A redirect would carry the job token to wherever it points; the 3xx itself is the (useless) answer.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout:       o.Timeout,
		retryInterval: o.RetryInterval,
		userAgent:     o.UserAgent,
		gate: gate{
			limiter: rate.NewLimiter(rate.Limit(o.RequestsPerSecond), o.Burst),
			places:  semaphore.NewWeighted(int64(o.MaxInFlight)),
		},
		breaker: newBreaker(o.Metrics),
		metrics: o.Metrics,
	}, nil
}

// Close gives idle connections back. Requests on their way are not disturbed.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// get asks one endpoint until there is a definite answer, the attempts are used up, or Timeout has passed since the
// call. read turns a 200 into a value; its error makes the answer a useless one, which is asked for again.
//
// The error is GitLab's definite no (isDefinite) or an *UnavailableError.
func get[T any](ctx context.Context, c *Client, r request, read func(answer) (T, error)) (T, error) {
	if r.credential == (Credential{}) {
		var none T
		return none, c.unavailable(r, 0, ErrNoCredential)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()

	attempts, last := 0, error(nil)
	op := func() (T, error) {
		attempts++
		value, err := attempt(ctx, c, r, read)
		last = err
		// Neither GitLab's definite no nor a queue that is too long would be different a moment later.
		if isDefinite(err) || errors.Is(err, ErrNoPlace) {
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
	// What went wrong with GitLab says more than "context deadline exceeded" during the pause after it.
	return value, c.unavailable(r, attempts, last)
}

// attempt waits for a place and makes one request.
func attempt[T any](ctx context.Context, c *Client, r request, read func(answer) (T, error)) (T, error) {
	var none T
	leave, err := c.gate.enter(ctx, r.urgency)
	if err != nil {
		return none, err
	}
	defer leave()
	report, err := c.breaker.Allow()
	if err != nil {
		return none, fmt.Errorf("%w: %w", ErrCircuitOpen, err)
	}
	start := time.Now()
	value, err := roundTrip(ctx, c, r, read)
	report(err)
	c.metrics.observe(r.endpoint, err, time.Since(start))
	return value, err
}
