package job

import (
	"errors"
	"sync"
	"time"
)

// Observer hears of outages: each change once, however many lookups meet it. Its methods must not block.
type Observer interface {
	// Away says that several lookups in a row, of different credentials or refreshes, got no usable answer since a time.
	Away(since time.Time, err error)
	// Stale says that running jobs are served from answers past their freshness; each serves for staleFor at most.
	Stale(staleFor time.Duration)
	// LoginsFail says that jobs that are not known yet cannot log in.
	LoginsFail(err error)
	// Back says that lookups are answered again, after so long.
	Back(after time.Duration)
}

// awayAfter is how many lookups in a row make an outage: one agent's broken wildcard, or one user's rate limit, is none.
const awayAfter = 3

// outage tells an outage from single failures, and each of its changes once.
type outage struct {
	observer Observer // nil: no one listens

	mu       sync.Mutex
	failures int       // in a row
	since    time.Time // of the first of them
	away     bool
	stale    bool
	logins   bool
}

// met notes how a lookup ended. A definite answer, a rejection included, proves that the source answers.
func (o *outage) met(err error, lane Lane) {
	if o.observer == nil {
		return
	}
	var rejected *RejectedError
	if err == nil || errors.As(err, &rejected) {
		o.answered()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failures++; o.failures == 1 {
		o.since = time.Now()
	}
	if o.failures < awayAfter {
		return
	}
	if !o.away {
		o.away = true
		o.observer.Away(o.since, err)
	}
	if lane == Logins && !o.logins {
		o.logins = true
		o.observer.LoginsFail(err)
	}
}

func (o *outage) answered() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away {
		o.observer.Back(time.Since(o.since))
	}
	o.failures, o.away, o.stale, o.logins = 0, false, false, false
}

// served notes that a stale answer is used. Outside an outage that is one slow refresh, and nothing to tell.
func (o *outage) served(staleFor time.Duration) {
	if o.observer == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away && !o.stale {
		o.stale = true
		o.observer.Stale(staleFor)
	}
}
