package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	// What all running jobs together do in a second.
	loginsPerSecond = 20
	accessPerSecond = 100
	// maxHonest bounds the honest requests that wait, each kind by itself.
	maxHonest = 2048
	pace      = 5 * time.Millisecond
)

// tally counts requests of one kind.
type tally struct {
	mu         sync.Mutex
	ok, failed int
	slowest    time.Duration // of those that are ok
	latest     error
}

func (t *tally) note(err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed, t.latest = t.failed+1, err
		return
	}
	t.ok++
	t.slowest = max(t.slowest, took)
}

// move adds what was counted to another tally, returns it and begins again.
func (t *tally) move(to *tally) counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := counts{ok: t.ok, failed: t.failed, slowest: t.slowest, latest: t.latest}
	t.ok, t.failed, t.slowest = 0, 0, 0
	to.mu.Lock()
	defer to.mu.Unlock()
	to.ok, to.failed, to.slowest = to.ok+c.ok, to.failed+c.failed, max(to.slowest, c.slowest)
	if c.failed > 0 {
		to.latest = c.latest
	}
	return c
}

func (t *tally) counts() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return counts{ok: t.ok, failed: t.failed, slowest: t.slowest, latest: t.latest}
}

// counts are a tally at one moment.
type counts struct {
	ok, failed int
	slowest    time.Duration
	latest     error
}

func (c counts) String() string { return fmt.Sprintf("%d/%d", c.ok, c.ok+c.failed) }

// paced calls f at a rate, whether or not the earlier calls have ended, until the context ends. It returns, with the number
// of calls, once all have ended. Over the limit of calls at once it leaves some out.
func paced(ctx context.Context, perSecond float64, limit int, f func(i int)) (begun int) {
	return pacedUpTo(ctx, math.MaxInt, perSecond, limit, f)
}

// pacedUpTo is paced for a number of calls at most.
func pacedUpTo(ctx context.Context, most int, perSecond float64, limit int, f func(i int)) (begun int) {
	places := make(chan struct{}, limit)
	var all sync.WaitGroup
	defer all.Wait()
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	start, due := time.Now(), 0
	for begun < most {
		select {
		case <-ctx.Done():
			return begun
		case <-ticker.C:
		}
		for ; begun < most && float64(due) < time.Since(start).Seconds()*perSecond; due++ {
			select {
			case places <- struct{}{}:
			default:
				continue
			}
			i := begun
			begun++
			all.Go(func() {
				defer func() { <-places }()
				f(i)
			})
		}
	}
	return begun
}

// honest is everything that is not the attacker.
type honest struct {
	in     *installation
	tokens []string
	users  []*authenticationv1.UserInfo
	next   atomic.Int64 // new job

	running, byJobToken, byIDToken tally
}

// logIn makes all running jobs known.
func (h *honest) logIn(ctx context.Context) error {
	w := h.in.gitlab.Instance()
	for i := range runningJobs {
		token := credential(&w, firstRunning+int64(i), agents()[0])
		u, err := h.in.api.login(ctx, token)
		if err != nil {
			return fmt.Errorf("log running job %d in: %w", firstRunning+i, err)
		}
		h.tokens, h.users = append(h.tokens, token), append(h.users, u)
	}
	return nil
}

func credential(w *gitlabtest.Instance, job, agent int64) string {
	return fmt.Sprintf("ci:%d:%s", agent, w.Job(job).Token)
}

// work is what running jobs do until the context ends. Requests on their way finish.
func (h *honest) work(ctx context.Context) {
	var all sync.WaitGroup
	life := context.WithoutCancel(ctx)
	all.Go(func() {
		paced(ctx, loginsPerSecond, maxHonest, func(i int) {
			h.measure(&h.running, func() error {
				_, err := h.in.api.login(life, h.tokens[i%runningJobs])
				return err
			})
		})
	})
	all.Go(func() {
		paced(ctx, accessPerSecond, maxHonest, func(i int) {
			h.measure(&h.running, func() error { return h.in.api.authorize(life, h.users[i%runningJobs]) })
		})
	})
	all.Wait()
}

// arrive lets new jobs log in, half of them with ID tokens, until the context ends.
func (h *honest) arrive(ctx context.Context) {
	var all sync.WaitGroup
	life := context.WithoutCancel(ctx)
	w := h.in.gitlab.Instance()
	all.Go(func() {
		paced(ctx, newJobsPerSecond, maxHonest, func(int) {
			token := credential(&w, firstNew+h.next.Add(1)-1, agents()[0])
			h.measure(&h.byJobToken, func() error { _, err := h.in.api.login(life, token); return err })
		})
	})
	all.Go(func() {
		paced(ctx, newJobsPerSecond, maxHonest, func(int) {
			token, err := h.in.gitlab.IDToken(firstNew+h.next.Add(1)-1, audience)
			if err != nil {
				h.byIDToken.note(err, 0)
				return
			}
			h.measure(&h.byIDToken, func() error { _, err := h.in.api.login(life, token); return err })
		})
	})
	all.Wait()
}

func (h *honest) measure(t *tally, ask func() error) {
	start := time.Now()
	err := ask()
	t.note(err, time.Since(start))
}
