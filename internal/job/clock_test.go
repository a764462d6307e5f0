package job_test

import (
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// A step of the system's clock, in either direction, makes no answer older or younger, and holds no refresh back.
func TestLookup_StepOfTheWallClockChangesNoFreshness(t *testing.T) {
	for name, step := range map[string]time.Duration{"an hour back": -time.Hour, "an hour ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			elapsed, wall := time.Duration(0), time.Unix(1_900_000_000, 0)
			s := &source{answer: runs}
			r := newRegistry(t, s, defaults)
			r.SetClock(func() time.Duration { return elapsed }, func() time.Time { return wall.Add(elapsed) })

			lookup(t, r, "token")
			wall = wall.Add(step)
			elapsed += 5 * time.Second
			lookup(t, r, "token")
			wantCalls(t, s, 1)

			elapsed += 10 * time.Second
			s.set(down)
			if !lookup(t, r, "token").Stale {
				t.Error("the answer is not stale while GitLab is down")
			}
			wall = wall.Add(-2 * step)
			s.set(ended)
			elapsed += 2 * time.Second // the pause after trouble
			_, err := r.Lookup(t.Context(), jobToken("token"))
			wantRejected(t, err)
			wantCalls(t, s, 3)
		})
	}
}

// A token's own end is compared with the wall clock alone.
func TestLookup_TokensOwnEndFollowsTheWallClock(t *testing.T) {
	wall := time.Unix(1_900_000_000, 0)
	s := &source{answer: runs}
	r := newRegistry(t, s, defaults)
	r.SetClock(func() time.Duration { return 0 }, func() time.Time { return wall })
	c := job.Credential{Token: "token", Expires: wall.Add(time.Hour)}
	if _, err := r.Lookup(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	wall = wall.Add(2 * time.Hour)
	s.set(ended)
	_, err := r.Lookup(t.Context(), c)
	wantRejected(t, err)
}
