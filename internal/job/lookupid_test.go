package job_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

func TestLookupID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := defaults
		settings.MaxJobs = 2
		s := &source{answer: runs}
		r := newRegistry(t, s, settings)
		id := lookup(t, r, "one").Job.ID
		if a, err := r.LookupID(t.Context(), byID(id)); err != nil || a.Job.ID != id {
			t.Fatalf("a known job: %+v, %v", a.Job, err)
		}
		if _, err := r.LookupID(t.Context(), byID(id+1)); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("a job never seen: %v, want ErrUnknown", err)
		}
		lookup(t, r, "two")
		lookup(t, r, "three")
		if _, err := r.LookupID(t.Context(), byID(id)); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("an evicted job: %v, want ErrUnknown", err)
		}
		id = lookup(t, r, "one").Job.ID
		time.Sleep(10 * time.Second)
		s.set(ended)
		for range 2 {
			_, err := r.LookupID(t.Context(), byID(id))
			wantRejected(t, err)
		}
		wantCalls(t, s, 5)
		s.set(runs)
		time.Sleep(10 * time.Second)
		lookup(t, r, "one")
		if _, err := r.LookupID(t.Context(), byID(id)); err != nil {
			t.Errorf("a job whose user was blocked for a while: %v", err)
		}
	})
}

func TestLookupID_JobThatGitLabDoesNotConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		id := lookup(t, r, "token").Job.ID
		s.set(down)
		time.Sleep(130*time.Second - time.Nanosecond)
		if a, err := r.LookupID(t.Context(), byID(id)); err != nil || !a.Stale {
			t.Errorf("to the end of staleFor: stale is %t, error is %v", a.Stale, err)
		}
		time.Sleep(3 * time.Second)
		if _, err := r.LookupID(t.Context(), byID(id)); !errors.Is(err, job.ErrUnconfirmed) {
			t.Errorf("after staleFor: %v, want ErrUnconfirmed", err)
		}
		s.slow(5 * time.Second)
		time.Sleep(3 * time.Second)
		start := time.Now()
		if _, err := r.LookupID(t.Context(), byID(id)); !errors.Is(err, job.ErrUnconfirmed) || time.Since(start) != time.Second {
			t.Errorf("while GitLab hangs: %v after %s, want ErrUnconfirmed after a second", err, time.Since(start))
		}
		s.slow(0)
		s.set(runs)
		time.Sleep(10 * time.Second)
		if a, err := r.LookupID(t.Context(), byID(id)); err != nil || a.Stale {
			t.Errorf("when GitLab is back: stale is %t, error is %v", a.Stale, err)
		}
		time.Sleep(time.Minute)
		s.set(ended)
		time.Sleep(2 * time.Minute)
		_, err := r.LookupID(t.Context(), byID(id))
		wantRejected(t, err)
	})
}

// A job may have two tokens. The end of the one that was seen last ends the job only until GitLab confirms the other.
func TestLookupID_OneOfTwoTokensEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(string) (*job.Job, error) { return reply(1), nil }}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "first")
		lookup(t, r, "second")
		s.set(func(token string) (*job.Job, error) {
			if token == "second" {
				return ended(token)
			}
			return reply(1), nil
		})
		time.Sleep(10 * time.Second)
		_, err := r.LookupID(t.Context(), byID(1))
		wantRejected(t, err)
		lookup(t, r, "first")
		if _, err := r.LookupID(t.Context(), byID(1)); err != nil {
			t.Errorf("after GitLab has confirmed the other token: %v", err)
		}
	})
}

func TestLookupID_MostEndedJobsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := defaults
		settings.MaxRejected = 2
		s := &source{answer: runs}
		r := newRegistry(t, s, settings)
		var ids []int64
		for _, token := range []string{"one", "two", "three"} {
			ids = append(ids, lookup(t, r, token).Job.ID)
		}
		time.Sleep(10 * time.Second)
		s.set(ended)
		for _, id := range ids {
			_, err := r.LookupID(t.Context(), byID(id))
			wantRejected(t, err)
		}
		if _, err := r.LookupID(t.Context(), byID(ids[0])); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("the first of three ended jobs, with room for two: %v, want ErrUnknown", err)
		}
	})
}

// A job may log in with both kinds of credentials; each keeps what it proves.
func TestLookupID_KindsOfCredentialsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(token string) (*job.Job, error) {
			j := reply(1)
			if token == "ID token" {
				j.Agents = nil
			}
			return j, nil
		}}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "job token")
		if _, err := r.Lookup(t.Context(), job.Credential{Kind: job.IDToken, Token: "ID token"}); err != nil {
			t.Fatal(err)
		}
		for kind, agents := range map[job.Kind]int{job.JobToken: 1, job.IDToken: 0} {
			a, err := r.LookupID(t.Context(), job.ByID{ID: 1, ProjectID: 150, Kind: kind})
			if err != nil || len(a.Job.Agents) != agents {
				t.Errorf("kind %d: %d agents, error %v; want %d", kind, len(a.Job.Agents), err, agents)
			}
		}
	})
}

// A verified token is not verified again, so its end is the registry's to notice.
func TestLookup_ExpiredTokenIsRejectedWithoutAsking(t *testing.T) {
	for _, kind := range []job.Kind{job.JobToken, job.IDToken} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{answer: runs}
			r := newRegistry(t, s, defaults)
			c := job.Credential{Kind: kind, Token: "token", Expires: time.Now().Add(15 * time.Second)}
			first, err := r.Lookup(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(15 * time.Second)
			_, err = r.Lookup(t.Context(), c)
			wantRejected(t, err)
			_, err = r.LookupID(t.Context(), job.ByID{ID: first.Job.ID, ProjectID: 150, Kind: kind})
			wantRejected(t, err)
			wantCalls(t, s, 1)
		})
	}
}
