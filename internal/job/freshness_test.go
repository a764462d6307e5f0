package job_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// Each row is one use of a job that was looked up at time zero, and what it costs.
func TestLookup_Freshness(t *testing.T) {
	rows := []struct {
		name      string
		after     time.Duration // since the first lookup
		then      func(string) (*job.Job, error)
		takes     time.Duration
		wantErr   func(*testing.T, error) // nil: the job
		wantStale bool
		wantWait  time.Duration
		wantCalls int // including the first
	}{
		{name: "fresh", after: 7 * time.Second, then: ended, wantCalls: 1},
		{name: "refresh ahead does not wait", after: 8 * time.Second, then: runs, takes: 5 * time.Second, wantCalls: 2},
		{name: "refresh ahead uses the old answer even if the job has just ended", after: 9 * time.Second, then: ended, wantCalls: 2},
		{name: "past freshness waits", after: 10 * time.Second, then: runs, takes: 900 * time.Millisecond, wantWait: 900 * time.Millisecond, wantCalls: 2},
		{name: "past freshness learns the end", after: 10 * time.Second, then: ended, takes: 900 * time.Millisecond, wantErr: wantRejected, wantWait: 900 * time.Millisecond, wantCalls: 2},
		{name: "waits one second at most", after: 10 * time.Second, then: runs, takes: 9 * time.Second, wantStale: true, wantWait: time.Second, wantCalls: 2},
		{name: "GitLab down serves stale", after: 10 * time.Second, then: down, wantStale: true, wantCalls: 2},
		{name: "GitLab down serves stale to the end", after: 130*time.Second - time.Nanosecond, then: down, wantStale: true, wantCalls: 2},
		{name: "GitLab down and too stale", after: 130 * time.Second, then: down, wantErr: wantUnavailable, wantCalls: 2},
		{name: "too stale waits as long as it takes", after: 130 * time.Second, then: runs, takes: 9 * time.Second, wantWait: 9 * time.Second, wantCalls: 2},
		{name: "a rejection ends even what could serve as stale", after: time.Minute, then: ended, wantErr: wantRejected, wantCalls: 2},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{answer: runs}
				r := newRegistry(t, s, defaults)
				lookup(t, r, "token")
				time.Sleep(row.after)
				s.set(row.then)
				s.slow(row.takes)

				start := time.Now()
				a, err := r.Lookup(t.Context(), jobToken("token"))
				waited := time.Since(start)
				synctest.Wait()
				if row.wantErr != nil {
					row.wantErr(t, err)
				} else if err != nil {
					t.Fatalf("Lookup: %v", err)
				} else if a.Stale != row.wantStale {
					t.Errorf("stale is %t, want %t", a.Stale, row.wantStale)
				}
				if waited != row.wantWait {
					t.Errorf("waited %s, want %s", waited, row.wantWait)
				}
				wantCalls(t, s, row.wantCalls)
			})
		})
	}
}

func TestLookup_BusyJobIsAskedForOncePerFourFifthsOfItsFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, takes: 50 * time.Millisecond}
		r := newRegistry(t, s, defaults)
		for range 6000 { // ten minutes, ten requests a second
			lookup(t, r, "token")
			time.Sleep(100 * time.Millisecond)
		}
		if got, most := s.count(), 600/8+1; got > most {
			t.Errorf("GitLab was asked %d times in ten minutes, want at most %d", got, most)
		}
	})
}

func TestLookup_OutageCostsABusyJobOneWaitPerRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "token")
		time.Sleep(10 * time.Second)
		s.set(down)
		s.slow(10 * time.Second) // hangs until the client gives up
		start, waited, uses := time.Now(), time.Duration(0), 0
		for time.Since(start) < time.Minute {
			before := time.Now()
			if a := lookup(t, r, "token"); !a.Stale {
				t.Fatal("the answer is not stale")
			}
			waited, uses = waited+time.Since(before), uses+1
			time.Sleep(10 * time.Millisecond)
		}
		if waited > 6*time.Second || uses < 5000 {
			t.Errorf("%d uses waited %s in all, want at most one second for each refresh that was tried", uses, waited)
		}
		if got := s.count(); got > 1+6 {
			t.Errorf("GitLab was asked %d times, want one refresh at a time with pauses between", got)
		}
	})
}

// A failed refresh must not make a later one, when GitLab is back, a matter of luck.
func TestLookup_EndIsNoticedAtOnceWhenGitLabIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "token")
		time.Sleep(10 * time.Second)
		s.set(down)
		lookup(t, r, "token")
		time.Sleep(20 * time.Second)
		s.set(ended)
		_, err := r.Lookup(t.Context(), jobToken("token"))
		wantRejected(t, err)
	})
}
