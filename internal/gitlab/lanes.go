package gitlab

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/jobgate/jobgate/internal/job"
)

const (
	// slowAfter is when a request that GitLab has not answered leaves its place to a newcomer and becomes a slow one. So a
	// place is taken for a quarter of a second at most, however long GitLab thinks about a hanging question.
	slowAfter = 250 * time.Millisecond
	// slowPerPlace bounds the slow requests: each lane may have this many for each of all places.
	slowPerPlace = 2
	// maxQueue bounds the waiting requests of a queue, whatever the rate limit is set to.
	maxQueue = 8192
)

// ErrNoPlace is in the chain of an UnavailableError when the last attempt was not made, because the rate limit or the
// places in flight left no room for it while enough of the lookup's time was left.
var ErrNoPlace = errors.New("no place for another request to GitLab in time")

// queueName says which queue of the lanes a request waits in.
type queueName int

const (
	logins    queueName = iota // the one queue of the lane job.Logins
	refreshes                  // the lane job.Refreshes has three, of which two take turns: this one,
	facts                      // and this one, so that neither a huge project nor many logins delay the refreshes
	strangers                  // this one goes when neither of the two waits, and shares the places of facts
)

func (q queueName) lane() job.Lane {
	if q == logins {
		return job.Logins
	}
	return job.Refreshes
}

func queueOf(l job.Lane) queueName {
	switch l {
	case job.Logins:
		return logins
	case job.Refreshes:
		return refreshes
	default:
		return strangers
	}
}

// lanes is what every request passes: a place in flight, then a token of the rate limit.
//
//   - Each lane owns half of the places and half of the rate.
//   - It may borrow what the other leaves idle, but for a reserve: an eighth of the places and a quarter of the burst
//     stay for the other lane's next requests. A lane with waiting requests lends nothing.
//   - The newest waiting request goes first. When more come than may pass, the others wait in vain in any order; this
//     way those that pass have hardly waited, and what was given up does not stand in the way of what comes after.
type lanes struct {
	places   int // of both lanes
	maxSlow  int // of each lane
	maxFacts int // places that facts and strangers may take
	capacity int // of each queue
	// isOpen is the circuit breaker. It is asked before a token of the rate limit is spent.
	isOpen  func() bool
	metrics *Metrics

	mu     sync.Mutex
	lane   [2]lane
	queues [4]list.List // of *waiter, the newest in front
	// factsTurn says which queue of the refreshes goes next when both wait.
	factsTurn bool
	wakeup    *time.Timer // for the next token of the rate limit; nil while nothing waits for one
}

type lane struct {
	limiter     *rate.Limiter
	reserve     float64 // tokens that the other lane must leave
	quick, slow int     // requests in flight, by age
	facts       int     // of the quick ones
}

// waiter is a request in a queue. Its result is sent once: a place, or why there is none.
type waiter struct {
	queue  queueName
	result chan entrance
}

type entrance struct {
	place *place
	err   error
}

func newLanes(o Options, isOpen func() bool) *lanes {
	l := &lanes{
		places:   max(2, o.MaxInFlight),
		capacity: int(min(float64(o.Burst)+o.RequestsPerSecond*o.Timeout.Seconds(), maxQueue)),
		isOpen:   isOpen,
		metrics:  o.Metrics,
	}
	l.capacity = max(1, l.capacity)
	l.maxSlow = slowPerPlace * l.places
	l.maxFacts = max(1, l.places/4)
	burst := max(1, o.Burst/2)
	for i := range l.lane {
		l.lane[i].limiter = rate.NewLimiter(rate.Limit(o.RequestsPerSecond/2), burst)
		l.lane[i].reserve = float64(burst / 2)
	}
	return l
}

// enter waits until the request may be sent, which it must leave need of its time for. The place must be left. The error
// wraps ErrNoPlace or ErrCircuitOpen.
func (l *lanes) enter(ctx context.Context, queue queueName, need time.Duration) (*place, error) {
	if l.isOpen() {
		return nil, ErrCircuitOpen
	}
	patience := time.Duration(1<<63 - 1)
	if deadline, ok := ctx.Deadline(); ok {
		patience = time.Until(deadline) - need
	}
	if patience < 0 || ctx.Err() != nil {
		return nil, fmt.Errorf("%w: too little of the lookup's time is left", ErrNoPlace)
	}
	w := &waiter{queue: queue, result: make(chan entrance, 1)}
	element, ok := l.join(w, patience)
	if !ok {
		return nil, fmt.Errorf("%w: the rate limit is used up", ErrNoPlace)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case e := <-w.result:
		return e.place, e.err
	case <-timer.C:
	case <-ctx.Done():
	}
	return l.giveUp(w, element)
}

// join puts the waiter in its queue and lets go whatever may go. It refuses a waiter that the rate limit cannot let
// through in time.
func (l *lanes) join(w *waiter, patience time.Duration) (*list.Element, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := &l.queues[w.queue]
	element := queue.PushFront(w)
	l.dispatch()
	if len(w.result) == 0 && l.untilToken(w.queue.lane(), time.Now()) > patience {
		queue.Remove(element)
		l.metrics.turnAway(w.queue)
		l.observe()
		return nil, false
	}
	if queue.Len() > l.capacity {
		l.refuse(queue.Back(), fmt.Errorf("%w: too many requests wait", ErrNoPlace))
	}
	l.observe()
	return element, true
}

// giveUp ends a wait, unless it has just ended by itself.
func (l *lanes) giveUp(w *waiter, element *list.Element) (*place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case e := <-w.result:
		if e.place != nil {
			l.free(e.place)
		}
	default:
		l.queues[w.queue].Remove(element)
	}
	l.metrics.turnAway(w.queue)
	l.observe()
	return nil, fmt.Errorf("%w: waited too long", ErrNoPlace)
}

// dispatch lets every waiter go that may go. The lock is held.
func (l *lanes) dispatch() {
	if l.isOpen() {
		for q := range l.queues {
			for l.queues[q].Len() > 0 {
				l.refuse(l.queues[q].Front(), ErrCircuitOpen)
			}
		}
	}
	for l.dispatchOne(job.Refreshes) || l.dispatchOne(job.Logins) {
	}
	l.wakeForToken()
	l.observe()
}

func (l *lanes) dispatchOne(id job.Lane) bool {
	queue, ok := l.next(id)
	if !ok || !l.mayStart(id) || !l.takeToken(id, time.Now()) {
		return false
	}
	w := l.queues[queue].Remove(l.queues[queue].Front()).(*waiter)
	w.result <- entrance{place: l.occupy(queue)}
	if id == job.Refreshes {
		l.factsTurn = queue == refreshes
	}
	return true
}

// next is the queue of the lane whose turn it is.
func (l *lanes) next(id job.Lane) (queueName, bool) {
	if id == job.Logins {
		return logins, l.queues[logins].Len() > 0
	}
	hasRefresh := l.queues[refreshes].Len() > 0
	hasRoom := l.lane[id].facts < l.maxFacts
	hasFact := l.queues[facts].Len() > 0 && hasRoom
	switch {
	case hasFact && (l.factsTurn || !hasRefresh):
		return facts, true
	case hasRefresh || !hasRoom:
		return refreshes, hasRefresh
	}
	return strangers, l.queues[strangers].Len() > 0
}

// mayStart says whether the lane has a place left or may borrow one.
func (l *lanes) mayStart(id job.Lane) bool {
	free := l.places - l.lane[job.Logins].quick - l.lane[job.Refreshes].quick
	if free <= 0 {
		return false
	}
	if l.lane[id].quick < l.places/2 {
		return true
	}
	return free > max(1, l.places/8) && l.lane[id].slow < l.maxSlow && !l.waits(1-id)
}

func (l *lanes) waits(id job.Lane) bool {
	_, ok := l.next(id)
	return ok
}

// takeToken spends a token of the lane's own half of the rate, else one that the other lane leaves idle.
func (l *lanes) takeToken(id job.Lane, now time.Time) bool {
	if l.lane[id].limiter.AllowN(now, 1) {
		return true
	}
	other := &l.lane[1-id]
	return !l.waits(1-id) && other.limiter.TokensAt(now) >= other.reserve+1 && other.limiter.AllowN(now, 1)
}

// untilToken is how long the lane has to wait for its next token at most.
func (l *lanes) untilToken(id job.Lane, now time.Time) time.Duration {
	own := &l.lane[id]
	wait := missing(own.limiter, 1, now)
	if other := &l.lane[1-id]; !l.waits(1 - id) {
		wait = min(wait, missing(other.limiter, other.reserve+1, now))
	}
	return wait
}

// missing is how long the limiter takes to have the tokens.
func missing(limiter *rate.Limiter, tokens float64, now time.Time) time.Duration {
	lack := tokens - limiter.TokensAt(now)
	if lack <= 0 {
		return 0
	}
	seconds := lack / float64(limiter.Limit())
	if limit := (24 * time.Hour).Seconds(); !(seconds < limit) {
		seconds = limit
	}
	// A nanosecond more, so that rounding does not make the timer come too early for the token.
	return time.Duration(seconds*float64(time.Second)) + 1
}

// wakeForToken looks again when the next token is there for a request that lacks nothing else.
func (l *lanes) wakeForToken() {
	now, wait := time.Now(), time.Duration(-1)
	for id := range job.Lane(len(l.lane)) {
		if l.waits(id) && l.mayStart(id) {
			if until := l.untilToken(id, now); wait < 0 || until < wait {
				wait = until
			}
		}
	}
	if l.wakeup != nil {
		l.wakeup.Stop()
		l.wakeup = nil
	}
	if wait < 0 {
		return
	}
	l.wakeup = time.AfterFunc(max(wait, time.Microsecond), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dispatch()
	})
}

func (l *lanes) refuse(element *list.Element, err error) {
	w := element.Value.(*waiter)
	l.queues[w.queue].Remove(element)
	w.result <- entrance{err: err}
	l.metrics.turnAway(w.queue)
}

func (l *lanes) observe() {
	for q := range l.queues {
		l.metrics.waiting(queueName(q), l.queues[q].Len())
	}
	for id := range l.lane {
		l.metrics.inFlight(job.Lane(id), l.lane[id].quick, l.lane[id].slow)
	}
}
