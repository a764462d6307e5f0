package gitlab

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// suspicious is how many requests in a row must fail before GitLab itself is asked how it is.
	suspicious = 10
	// probesToOpen must all fail before the circuit opens.
	probesToOpen = 3
	// probeTimeout is short: a GitLab that does not refuse an anonymous request within it is of no use to logins.
	probeTimeout = time.Second
	// While the circuit is open, a probe goes out this often, whether or not the one before has come back.
	probeEvery = 500 * time.Millisecond
	// suspectEvery is how often at most a suspicion is examined.
	suspectEvery = 2 * time.Second
)

// ErrCircuitOpen is in the chain of an UnavailableError when the last attempt was not made at all, because GitLab had
// stopped answering a moment before.
var ErrCircuitOpen = errors.New("circuit breaker is open")

// health is the circuit breaker. Failed requests alone never open it: a user can make GitLab slow or fail for questions
// about his own project. They only make it ask GitLab something that does not depend on any user, and the answers to
// that decide. In the same way such probes close it again, and so does any answer to a request under way.
type health struct {
	// probe says whether GitLab answers.
	probe func(context.Context) bool
	// life ends with the client.
	life    context.Context
	metrics *Metrics

	mu       sync.Mutex
	open     bool
	failures int       // in a row
	probed   time.Time // when the latest probe began
}

// isOpen says whether requests are held back. Being asked is what sends the probes.
func (h *health) isOpen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open && time.Since(h.probed) >= probeEvery {
		h.examine(1)
	}
	return h.open
}

// verdict is what a request's outcome says about GitLab as a whole.
type verdict int

const (
	saysNothing verdict = iota
	answered
	failed
)

// report notes a request's outcome.
func (h *health) report(v verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch v {
	case answered:
		h.setOpen(false)
	case failed:
		h.failures++
		if !h.open && h.failures >= suspicious && time.Since(h.probed) >= suspectEvery {
			h.examine(probesToOpen)
		}
	}
}

// examine sends probes in the background. The lock is held.
func (h *health) examine(probes int) {
	h.probed = time.Now()
	answers := make(chan bool, probes)
	for range probes {
		go func() {
			alive := false
			defer func() {
				_ = recover() // a probe that panics has no answer; the process goes on
				answers <- alive
			}()
			ctx, cancel := context.WithTimeout(h.life, probeTimeout)
			defer cancel()
			alive = h.probe(ctx)
		}()
	}
	go func() {
		for range probes {
			if <-answers {
				h.report(answered)
				return
			}
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.setOpen(h.life.Err() == nil && (h.open || h.failures >= suspicious))
	}()
}

func (h *health) setOpen(open bool) {
	if !open {
		h.failures = 0
	}
	h.open = open
	h.metrics.setCircuit(open)
}

// judge tells trouble with GitLab as a whole from trouble with one question. An end that the caller set says nothing.
func judge(ctx context.Context, err error) verdict {
	var transport *transportError
	if errors.As(err, &transport) {
		if ctx.Err() != nil {
			return saysNothing
		}
		return failed
	}
	var answer *answerError
	if errors.As(err, &answer) && isDown(answer.status) {
		return failed
	}
	return answered
}

// isDown tells the statuses of a proxy that has no GitLab behind it. A 500 is an answer, and so is a 429.
func isDown(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// askAnonymously is the probe: the most important question without a credential, which GitLab refuses at once.
func (c *Client) askAnonymously(ctx context.Context) bool {
	r := request{endpoint: allowedAgentsPath}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(r), nil)
	if err != nil {
		return false
	}
	c.setHeader(req, r)
	start := time.Now()
	resp, err := c.http.Do(req)
	c.metrics.observeProbe(resp, time.Since(start))
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxRefusal) // so that the connection can be used again
	return !isDown(resp.StatusCode)
}
