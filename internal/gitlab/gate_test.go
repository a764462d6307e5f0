package gitlab

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// A refresh that has waited longer still lets every waiting login go first, whichever of the two they wait for.
func TestGate_LoginsGoBeforeRefreshes(t *testing.T) {
	rows := []struct {
		name   string
		places int64
		limit  rate.Limit
		burst  int
	}{
		{"for a place", 1, rate.Inf, 1},
		{"for the rate limit", 10, 1, 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := gate{limiter: rate.NewLimiter(row.limit, row.burst), places: semaphore.NewWeighted(row.places)}
				leaveFirst, err := g.enter(t.Context(), Login)
				if err != nil {
					t.Fatal(err)
				}
				var entered []Urgency
				order := make(chan Urgency, 3)
				wait := func(u Urgency) {
					go func() {
						leave, err := g.enter(t.Context(), u)
						if err != nil {
							t.Error(err)
							return
						}
						order <- u
						time.Sleep(time.Second)
						leave()
					}()
					synctest.Wait()
				}
				wait(Refresh)
				wait(Login)
				wait(Login)
				time.Sleep(100 * time.Millisecond)
				leaveFirst()
				for range 3 {
					entered = append(entered, <-order)
				}
				time.Sleep(time.Second)
				if want := []Urgency{Login, Login, Refresh}; !slices.Equal(entered, want) {
					t.Errorf("entered in the order %v, want %v", entered, want)
				}
			})
		})
	}
}

func TestGate_RefreshGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gate{limiter: rate.NewLimiter(rate.Inf, 1), places: semaphore.NewWeighted(1)}
		leave, err := g.enter(t.Context(), Login)
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.enter(ctx, Refresh); !errors.Is(err, ErrNoPlace) {
			t.Errorf("error is %v, want ErrNoPlace", err)
		}
	})
}
