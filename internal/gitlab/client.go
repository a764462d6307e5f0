// Package gitlab is a typed client of the few GitLab endpoints that jobgate asks. A *Client is a job.Source, a
// job.FactSource and a job.StatusSource.
//
// It knows HTTP and GitLab's wire format: how a token travels, which answers are GitLab's own definite refusal and which
// only say that GitLab could not be asked, and how hard GitLab may be pressed (lanes, breaker, retries). GitLab's status
// codes stay inside. It must not know Kubernetes, how long an answer may be used, or what it means for an identity.
package gitlab

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

var (
	_ job.Source       = (*Client)(nil)
	_ job.FactSource   = (*Client)(nil)
	_ job.StatusSource = (*Client)(nil)
)

// Options say where GitLab is and how hard it may be pressed.
type Options struct {
	// URL is GitLab's base URL, with a relative URL root if it has one.
	URL string
	// CABundle holds PEM certificates trusted besides the system's; empty for none.
	CABundle []byte
	// AccessToken is the instance's own token (read_api), as it stands in its file: a line end is cut off. Empty for none.
	AccessToken string
	// Agents are the ids of the agents whose entries are kept of a reply; nil keeps all.
	Agents []int64
	// Timeout bounds one whole lookup: waiting for a place, every page, every attempt, every pause between them.
	Timeout time.Duration
	// MaxInFlight is the number of requests that may be in flight at once. Those that GitLab has not answered within
	// 250 ms no longer count; of them there may be four times as many.
	MaxInFlight int
	// RequestsPerSecond and Burst shape the token buckets that every attempt draws from, half for each lane.
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
	base           *url.URL
	access         credential
	http           *http.Client
	timeout        time.Duration
	attemptTimeout time.Duration
	retryInterval  time.Duration
	userAgent      string
	lanes          *lanes
	health         *health
	metrics        *Metrics
	end            context.CancelFunc

	agents         map[int64]bool // nil keeps all
	configurations *configurations
	protections    *shared[refKey, bool]
	named          *shared[environmentKey, namedEnvironment]
	protected      *shared[environmentKey, bool]
	listings       *listings
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
	return newClient(o, base, access, transport), nil
}

func newClient(o Options, base *url.URL, access credential, transport http.RoundTripper) *Client {
	life, end := context.WithCancel(context.Background())
	c := &Client{
		base:   base,
		access: access,
		http: &http.Client{
			Transport: transport,
			// A redirect would carry the job token to wherever it points; the 3xx itself is the (useless) answer.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout:        o.Timeout,
		attemptTimeout: min(maxAttemptTimeout, o.Timeout/2),
		retryInterval:  o.RetryInterval,
		userAgent:      o.UserAgent,
		metrics:        o.Metrics,
		end:            end,
		agents:         idSet(o.Agents),
		configurations: newConfigurations(),
		protections:    newShared[refKey, bool](),
		named:          newShared[environmentKey, namedEnvironment](),
		protected:      newShared[environmentKey, bool](),
		listings:       newListings(),
	}
	c.health = &health{probe: c.askAnonymously, life: life, metrics: o.Metrics}
	c.lanes = newLanes(o, c.health.isOpen)
	o.Metrics.setCircuit(false)
	return c
}

func idSet(ids []int64) map[int64]bool {
	if ids == nil {
		return nil
	}
	set := make(map[int64]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// Close gives idle connections back. Requests on their way are not disturbed.
func (c *Client) Close() {
	c.end()
	c.http.CloseIdleConnections()
}
