package job_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// A job that this instance has not seen is confirmed by its id, where there is an access token.
func TestLookupID_JobOfAnotherInstance(t *testing.T) {
	status := func(text string) func(int64) (string, error) { return func(int64) (string, error) { return text, nil } }
	gone := func(int64) (string, error) { return "", &job.RejectedError{Rejection: job.NotRunning} }
	trouble := func(int64) (string, error) { return "", &job.UnavailableError{Err: errTrouble} }
	rows := []struct {
		name   string
		status func(int64) (string, error)
		kind   job.Kind
		ended  bool
	}{
		{name: "no access token"},
		{name: "running", status: status("running")},
		{name: "success", status: status("success"), ended: true},
		{name: "pending", status: status("pending"), ended: true},
		{name: "canceling, of a job token", status: status("canceling")},
		{name: "canceling, of an ID token", status: status("canceling"), kind: job.IDToken, ended: true},
		{name: "no such job", status: gone, ended: true},
		{name: "trouble", status: trouble},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRegistry(t, &source{answer: runs, status: row.status}, defaults)
				for range 2 { // asked, and remembered
					_, err := r.LookupID(t.Context(), job.ByID{ID: 1, ProjectID: 150, Kind: row.kind})
					var rejected *job.RejectedError
					if errors.As(err, &rejected) != row.ended || (!row.ended && !errors.Is(err, job.ErrUnknown)) {
						t.Errorf("error is %v, ended: want %t", err, row.ended)
					}
				}
			})
		})
	}
}

func TestLookupID_StatusHasTheFreshnessOfJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, status: func(int64) (string, error) { return "running", nil }}
		r := newRegistry(t, s, defaults)
		for range 100 { // ten seconds, ten requests a second
			if _, err := r.LookupID(t.Context(), byID(1)); !errors.Is(err, job.ErrUnknown) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if s.statuses != 2 {
			t.Errorf("GitLab was asked %d times in ten seconds, want once and once ahead", s.statuses)
		}
		s.mu.Lock()
		s.status = func(int64) (string, error) { return "success", nil }
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		_, err := r.LookupID(t.Context(), byID(1))
		wantRejected(t, err)
	})
}

func TestLookupID_SlowStatusCostsASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, status: func(int64) (string, error) { return "running", nil }, takes: 5 * time.Second}
		r := newRegistry(t, s, defaults)
		start := time.Now()
		if _, err := r.LookupID(t.Context(), byID(1)); !errors.Is(err, job.ErrUnknown) || time.Since(start) != time.Second {
			t.Errorf("%v after %s, want ErrUnknown after a second", err, time.Since(start))
		}
	})
}
