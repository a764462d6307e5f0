package gitlab

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// narrow are lanes of eight places, whose rate limit does not matter.
func narrow(change func(*Options)) *lanes {
	o := defaults()
	o.MaxInFlight, o.RequestsPerSecond, o.Burst = 8, 1e6, 1e6
	if change != nil {
		change(&o)
	}
	return newLanes(o, func() bool { return false })
}

// mustEnter takes places for that many requests, none of which may have to wait.
func mustEnter(t *testing.T, l *lanes, queue queueName, n int) []*place {
	t.Helper()
	var all []*place
	start := time.Now()
	for range n {
		p, err := l.enter(t.Context(), queue, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if waited := time.Since(start); waited > 0 {
		t.Fatalf("waited %s for a place", waited)
	}
	return all
}

// waitingFor enters in the background and sends the name of the queue once it has a place, which it keeps for a second.
func waitingFor(t *testing.T, l *lanes, queue queueName, name string, entered chan<- string) {
	t.Helper()
	go func() {
		p, err := l.enter(t.Context(), queue, 0)
		if err != nil {
			entered <- err.Error()
			return
		}
		entered <- name
		time.Sleep(time.Second)
		p.leave()
	}()
	synctest.Wait()
}

func leaveAll(all []*place) {
	for _, p := range all {
		p.leave()
	}
}

func TestLanes_EachLaneBorrowsButForAReserve(t *testing.T) {
	for _, queue := range []queueName{logins, refreshes} {
		t.Run(queueNames[queue], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := narrow(nil)
				all := mustEnter(t, l, queue, 7) // of eight, one is the reserve
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if _, err := l.enter(ctx, queue, 0); !errors.Is(err, ErrNoPlace) {
					t.Errorf("error is %v, want no place", err)
				}
				other := logins + refreshes - queue
				all = append(all, mustEnter(t, l, other, 1)...)
				leaveAll(all)
			})
		})
	}
}

// However many logins there are, a refresh has a place at once or as soon as a borrowed one is given back.
func TestLanes_BorrowedPlacesAreGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(nil)
		all := mustEnter(t, l, logins, 7)
		all = append(all, mustEnter(t, l, refreshes, 1)...)
		entered := make(chan string, 10)
		waitingFor(t, l, logins, "login", entered)
		for range 3 {
			waitingFor(t, l, refreshes, "refresh", entered)
		}
		for i := range 3 {
			all[i].leave()
			if got := <-entered; got != "refresh" {
				t.Errorf("place %d went to a %s", i, got)
			}
		}
		all[3].leave() // the logins are at their half now
		if got := <-entered; got != "login" {
			t.Errorf("the fourth place went to a %s", got)
		}
		leaveAll(all[4:])
		time.Sleep(2 * time.Second)
	})
}

// A request that GitLab does not answer leaves its place to others after a quarter of a second.
func TestLanes_SlowRequestsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(nil)
		var all []*place
		for range 2 { // 7 quick ones become slow, twice; the lane may have 16
			all = append(all, mustEnter(t, l, logins, 7)...)
			time.Sleep(slowAfter)
			synctest.Wait()
		}
		all = append(all, mustEnter(t, l, logins, 7)...)
		time.Sleep(slowAfter)
		synctest.Wait()
		if quick, slow := l.lane[0].quick, l.lane[0].slow; quick != 5 || slow != 16 {
			t.Errorf("%d quick and %d slow, want 5 and 16", quick, slow)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := l.enter(ctx, logins, 0); !errors.Is(err, ErrNoPlace) {
			t.Errorf("error is %v; a lane full of slow requests may not borrow", err)
		}
		all = append(all, mustEnter(t, l, refreshes, 3)...)
		leaveAll(all)
		if quick, slow := l.lane[0].quick, l.lane[0].slow; quick != 0 || slow != 0 {
			t.Errorf("%d quick and %d slow are left", quick, slow)
		}
	})
}

func TestLanes_RateIsHalvedAndLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(func(o *Options) { o.MaxInFlight, o.RequestsPerSecond, o.Burst = 1000, 10, 40 })
		// The logins have 20 tokens and 10 of the refreshes', who keep 10.
		all := mustEnter(t, l, logins, 30)
		all = append(all, mustEnter(t, l, refreshes, 10)...)
		start := time.Now()
		for range 10 {
			p, err := l.enter(t.Context(), logins, 0)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		// Nothing is lent before the refreshes have their reserve again.
		if took := time.Since(start).Round(time.Millisecond); took != 2*time.Second {
			t.Errorf("ten logins took %s, want 2 s at five a second", took)
		}
		leaveAll(all)
	})
}

// Under a flood, the newest goes first, and those that cannot pass any more are told so.
func TestLanes_NewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(func(o *Options) { o.MaxInFlight, o.RequestsPerSecond, o.Burst, o.Timeout = 1000, 1, 2, time.Second })
		l.capacity = 3
		all := mustEnter(t, l, logins, 2)
		entered := make(chan string, 5)
		for i := range 4 {
			waitingFor(t, l, logins, fmt.Sprint(i), entered)
		}
		if got := <-entered; got != "no place for another request to GitLab in time: too many requests wait" {
			t.Errorf("the oldest of too many: %s", got)
		}
		// Both lanes have a token every two seconds, so two requests go at a time.
		if first := <-entered + <-entered; first != "32" && first != "23" {
			t.Errorf("requests %s went first, want 3 and 2", first)
		}
		if last := <-entered; last != "1" {
			t.Errorf("request %s went last, want 1", last)
		}
		leaveAll(all)
		time.Sleep(2 * time.Second)
	})
}

// Facts and refreshes take turns, so that neither the facts of huge projects nor many refreshes starve the other.
func TestLanes_FactsAndRefreshesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(func(o *Options) { o.MaxInFlight, o.RequestsPerSecond, o.Burst = 1000, 2, 2 })
		all := mustEnter(t, l, refreshes, 2)
		entered := make(chan string, 6)
		for range 3 {
			waitingFor(t, l, facts, "fact", entered)
		}
		for range 3 {
			waitingFor(t, l, refreshes, "refresh", entered)
		}
		var order []string
		for range 6 {
			order = append(order, <-entered)
		}
		// Two go at a time, with a token of each lane.
		for i := 0; i < len(order); i += 2 {
			if order[i] == order[i+1] {
				t.Errorf("they went in the order %v, want turns", order)
				break
			}
		}
		leaveAll(all)
		time.Sleep(2 * time.Second)
	})
}

// What is asked about an id that may be made up waits for the jobs that GitLab has confirmed.
func TestLanes_StrangersGoLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(func(o *Options) { o.MaxInFlight, o.RequestsPerSecond, o.Burst = 1000, 2, 2 })
		all := mustEnter(t, l, refreshes, 2)
		entered := make(chan string, 6)
		for _, queue := range []queueName{facts, refreshes, strangers, strangers, facts, refreshes} {
			waitingFor(t, l, queue, queueNames[queue], entered)
		}
		for i := range 6 {
			if got := <-entered; (got == queueNames[strangers]) != (i >= 4) {
				t.Errorf("number %d is of the queue %s", i+1, got)
			}
		}
		leaveAll(all)
		time.Sleep(2 * time.Second)
	})
}

func TestLanes_FactsTakeAQuarterOfThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := narrow(nil)
		all := mustEnter(t, l, facts, 2)
		ctx, cancel := context.WithTimeout(t.Context(), slowAfter/2)
		defer cancel()
		if _, err := l.enter(ctx, facts, 0); !errors.Is(err, ErrNoPlace) {
			t.Errorf("error is %v, want no place", err)
		}
		all = append(all, mustEnter(t, l, refreshes, 5)...)
		leaveAll(all)
	})
}

// A lookup is not started with less time left than an attempt may take, and does not wait for what comes too late.
func TestLanes_TooLittleTimeLeft(t *testing.T) {
	rows := []struct {
		name string
		left time.Duration
		wait time.Duration // before it is told so
	}{
		{"less than an attempt", 2999 * time.Millisecond, 0},
		{"the next token comes too late", 5 * time.Second, 0},
		{"the next token comes in time", 14 * time.Second, 10 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := narrow(func(o *Options) { o.RequestsPerSecond, o.Burst = 0.2, 2 }) // a token in ten seconds for each lane
				all := mustEnter(t, l, logins, 1)
				all = append(all, mustEnter(t, l, refreshes, 1)...)
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), row.left)
				defer cancel()
				p, err := l.enter(ctx, logins, 3*time.Second)
				if row.wait == 0 && !errors.Is(err, ErrNoPlace) || row.wait > 0 && err != nil {
					t.Errorf("error is %v", err)
				}
				if waited := time.Since(start).Round(time.Millisecond); waited != row.wait {
					t.Errorf("waited %s, want %s", waited, row.wait)
				}
				if p != nil {
					p.leave()
				}
				leaveAll(all)
			})
		})
	}
}

// While GitLab is down, no token of the rate limit is spent, and what waits is told at once.
func TestLanes_CircuitIsAskedBeforeATokenIsSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		o := defaults()
		o.RequestsPerSecond, o.Burst = 1, 2
		l := newLanes(o, open.Load)
		all := mustEnter(t, l, logins, 2)
		entered := make(chan string, 2)
		waitingFor(t, l, logins, "login", entered)
		open.Store(true)
		if got := <-entered; got != ErrCircuitOpen.Error() {
			t.Errorf("the waiting login got %s", got)
		}
		for range 100 {
			if _, err := l.enter(t.Context(), refreshes, 0); !errors.Is(err, ErrCircuitOpen) {
				t.Fatalf("error is %v, want an open circuit", err)
			}
		}
		time.Sleep(2 * time.Second)
		open.Store(false)
		all = append(all, mustEnter(t, l, refreshes, 1)...)
		leaveAll(all)
	})
}
