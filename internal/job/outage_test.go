package job_test

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/job"
)

// heard is an observer that writes down what it hears.
type heard []string

func (h *heard) Away(since time.Time, err error) {
	*h = append(*h, fmt.Sprintf("away for %s: %v", time.Since(since), err))
}
func (h *heard) Stale(staleFor time.Duration) { *h = append(*h, fmt.Sprintf("stale for %s", staleFor)) }
func (h *heard) LoginsFail(err error)         { *h = append(*h, fmt.Sprintf("logins fail: %v", err)) }
func (h *heard) Back(after time.Duration)     { *h = append(*h, fmt.Sprintf("back after %s", after)) }

// An outage is told by its changes, each once, while a hundred lookups meet it.
func TestOutage_EachChangeIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, got := &source{answer: runs}, &heard{}
		r := newRegistry(t, s, defaults)
		r.Observe(got)
		lookup(t, r, "running")
		s.set(down)
		time.Sleep(10 * time.Second)
		for i := range 50 {
			lookup(t, r, "running")
			_, err := r.Lookup(t.Context(), jobToken("new "+strconv.Itoa(i)))
			wantUnavailable(t, err)
			time.Sleep(time.Second)
		}
		s.set(runs)
		lookup(t, r, "running")
		want := heard{
			"away for 1s: answered 503", "logins fail: answered 503", "stale for 2m0s", "back after 50s",
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}

// Trouble with single credentials, between which others are answered, is no outage; a rejection is an answer.
func TestOutage_SingleFailuresAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, got := &source{answer: runs}, &heard{}
		r := newRegistry(t, s, defaults)
		r.Observe(got)
		for i, answer := range []func(string) (*job.Job, error){down, down, ended, down, down, runs, down, down} {
			s.set(answer)
			_, _ = r.Lookup(t.Context(), jobToken(strconv.Itoa(i)))
		}
		if len(*got) > 0 {
			t.Errorf("heard %q", *got)
		}
	})
}
