package job_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/job"
)

// A job that this instance has not seen is confirmed by its id, where there is an access token.
func TestLookupID_JobOfAnotherInstance(t *testing.T) {
	status := func(text string) func(int64, int64) (string, error) {
		return func(int64, int64) (string, error) { return text, nil }
	}
	gone := func(int64, int64) (string, error) { return "", &job.RejectedError{Rejection: job.NotRunning} }
	trouble := func(int64, int64) (string, error) { return "", &job.UnavailableError{Err: errTrouble} }
	rows := []struct {
		name   string
		status func(int64, int64) (string, error)
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

// A job whose ID token kube-apiserver has verified by itself is admitted only on GitLab's word, for as long as that may serve.
func TestLookupID_JobThatHasNotLoggedIn(t *testing.T) {
	running := func(int64, int64) (string, error) { return "running", nil }
	away := func(int64, int64) (string, error) { return "", &job.UnavailableError{Err: errTrouble} }
	by := job.ByID{ID: 1, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}
	synctest.Test(t, func(t *testing.T) {
		settings := defaults
		settings.RequireLiveness = true
		s := &source{answer: runs}
		r := newRegistry(t, s, settings)
		set := func(status func(int64, int64) (string, error)) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.status = status
		}
		want := func(when string, want error) {
			t.Helper()
			if _, err := r.LookupID(t.Context(), by); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		want("no access token", job.ErrCannotConfirm)
		set(away)
		want("GitLab is away", job.ErrUnconfirmed)
		set(running)
		time.Sleep(2 * time.Second) // trouble is asked about again
		want("confirmed", job.ErrUnknown)
		set(away)
		time.Sleep(settings.FreshFor + settings.StaleFor - time.Nanosecond)
		want("to the end of staleFor", job.ErrUnknown)
		time.Sleep(time.Nanosecond)
		want("after staleFor", job.ErrUnconfirmed)
		set(running)
		time.Sleep(2 * time.Second)
		want("when GitLab is back", job.ErrUnknown)
		set(func(int64, int64) (string, error) { return "canceling", nil })
		time.Sleep(settings.FreshFor)
		_, err := r.LookupID(t.Context(), by)
		wantRejected(t, err)
	})
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, status: away}
		r := newRegistry(t, s, defaults)
		if _, err := r.LookupID(t.Context(), by); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("where liveness is not required: %v, want ErrUnknown", err)
		}
	})
}

// A user who may create a LocalSubjectAccessReview can put any ids into its extras. What GitLab says of a job in another project
// than its own is nothing about the job.
func TestLookupID_WrongProjectNeitherEndsNorConfirmsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := defaults
		settings.RequireLiveness = true
		r := newRegistry(t, &source{answer: runs, status: func(projectID, _ int64) (string, error) {
			if projectID == 150 {
				return "running", nil
			}
			return "", &job.RejectedError{Rejection: job.NotRunning}
		}}, settings)
		own := job.ByID{ID: 1, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}
		wrong := own
		wrong.ProjectID = 666
		for range 2 {
			_, err := r.LookupID(t.Context(), wrong)
			wantRejected(t, err)
			if _, err := r.LookupID(t.Context(), own); !errors.Is(err, job.ErrUnknown) {
				t.Errorf("after a question with another project's id: %v, want ErrUnknown", err)
			}
		}
	})
}

// Ids that someone has made up take no place of a job that GitLab has confirmed.
func TestLookupID_MadeUpIDsPushOutNoConfirmedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settings := defaults
		settings.RequireLiveness, settings.MaxJobs, settings.MaxRejected = true, 2, 2
		s := &source{answer: runs, status: func(_, jobID int64) (string, error) {
			if jobID == 1 {
				return "running", nil
			}
			return "", &job.RejectedError{Rejection: job.NotRunning}
		}}
		r := newRegistry(t, s, settings)
		by := job.ByID{ID: 1, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}
		for id := range int64(10) {
			by.ID = id + 1
			_, _ = r.LookupID(t.Context(), by)
		}
		by.ID = 1
		if _, err := r.LookupID(t.Context(), by); !errors.Is(err, job.ErrUnknown) || len(s.statuses) != 10 {
			t.Errorf("%v after %d questions, want ErrUnknown and no further question", err, len(s.statuses))
		}
	})
}

// A job can be asked about before it runs: by someone who guesses its id, or where a replica of GitLab's database lags behind.
func TestLookupID_JobThatDidNotRunYet(t *testing.T) {
	for _, notYet := range []struct {
		name   string
		status func(int64, int64) (string, error)
	}{
		{"pending", func(int64, int64) (string, error) { return "pending", nil }},
		{"not made", func(int64, int64) (string, error) { return "", &job.RejectedError{Rejection: job.NotRunning} }},
	} {
		t.Run(notYet.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{answer: runs, status: notYet.status}
				r := newRegistry(t, s, defaults)
				by := job.ByID{ID: 1, ProjectID: 150, Kind: job.IDToken, NotLoggedIn: true}
				for range 100 { // to the end of rejectedFor, ten requests a second
					_, err := r.LookupID(t.Context(), by)
					wantRejected(t, err)
					time.Sleep(100 * time.Millisecond)
				}
				if len(s.statuses) > 2 {
					t.Errorf("GitLab was asked %d times in ten seconds, want once and once ahead", len(s.statuses))
				}
				set := func(status func(int64, int64) (string, error)) {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.status = status
				}
				set(func(int64, int64) (string, error) { return "", &job.UnavailableError{Err: errTrouble} })
				for range 100 { // trouble changes nothing
					time.Sleep(time.Minute)
					_, err := r.LookupID(t.Context(), by)
					wantRejected(t, err)
				}
				set(func(int64, int64) (string, error) { return "running", nil })
				time.Sleep(defaults.RejectedFor)
				if _, err := r.LookupID(t.Context(), by); !errors.Is(err, job.ErrUnknown) {
					t.Errorf("once it runs: %v, want ErrUnknown", err)
				}
			})
		})
	}
}

func TestLookupID_StatusHasTheFreshnessOfJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, status: func(int64, int64) (string, error) { return "running", nil }}
		r := newRegistry(t, s, defaults)
		for range 100 { // ten seconds, ten requests a second
			if _, err := r.LookupID(t.Context(), byID(1)); !errors.Is(err, job.ErrUnknown) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		// A job that GitLab has confirmed is one to refresh.
		if diff := cmp.Diff([]job.Lane{job.Strangers, job.Refreshes}, s.statuses); diff != "" {
			t.Errorf("questions in ten seconds, want once and once ahead (-want +got):\n%s", diff)
		}
		s.mu.Lock()
		s.status = func(int64, int64) (string, error) { return "success", nil }
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		_, err := r.LookupID(t.Context(), byID(1))
		wantRejected(t, err)
	})
}

func TestLookupID_SlowStatusCostsASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, status: func(int64, int64) (string, error) { return "running", nil }, takes: 5 * time.Second}
		r := newRegistry(t, s, defaults)
		start := time.Now()
		if _, err := r.LookupID(t.Context(), byID(1)); !errors.Is(err, job.ErrUnknown) || time.Since(start) != time.Second {
			t.Errorf("%v after %s, want ErrUnknown after a second", err, time.Since(start))
		}
	})
}
