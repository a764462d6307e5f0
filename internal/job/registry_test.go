package job_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/jobgate/jobgate/internal/job"
)

// source is GitLab as the registry sees it, under the test's clock. Its facts are asked for only where a test needs one.
type source struct {
	job.FactSource
	mu       sync.Mutex
	calls    []job.Lane
	answer   func(token string) (*job.Job, error)
	takes    time.Duration
	status   func(projectID, jobID int64) (string, error) // nil: there is no access token
	statuses []job.Lane
}

func (s *source) sources() job.Sources {
	return job.Sources{JobTokens: s, Facts: s, IDTokens: s, Statuses: s}
}

func (s *source) Identify(ctx context.Context, token string, _ *job.Job, lane job.Lane) (*job.Job, error) {
	s.mu.Lock()
	s.calls = append(s.calls, lane)
	answer, takes := s.answer, s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return answer(token)
}

func (s *source) CanAsk() bool { return s.status != nil }

func (s *source) Status(ctx context.Context, projectID, jobID int64, lane job.Lane) (string, error) {
	s.mu.Lock()
	s.statuses = append(s.statuses, lane)
	status, takes := s.status, s.takes
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return status(projectID, jobID)
}

func jobToken(token string) job.Credential { return job.Credential{Kind: job.JobToken, Token: token} }

func byID(id int64) job.ByID { return job.ByID{ID: id, ProjectID: 150} }

func noNeeds(*job.Job) job.Needs { return job.Needs{} }

func (s *source) set(answer func(string) (*job.Job, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *source) slow(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takes = d
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// runs is a live job for every token: the same id for the same token.
func runs(token string) (*job.Job, error) {
	id := int64(0)
	for _, c := range token {
		id = id*31 + int64(c)
	}
	return reply(id & 0xffffff), nil
}

func reply(id int64) *job.Job {
	return &job.Job{
		ID: id, PipelineID: 501, ProjectID: 150, Groups: job.KnownFact([]int64{25, 23}), UserID: 9, Username: "jdoe",
		Agents: []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: &job.Configuration{AccessAs: job.AsCIJob}}},
	}
}

func ended(string) (*job.Job, error) { return nil, &job.RejectedError{Rejection: job.NotRunning} }

func down(string) (*job.Job, error) {
	return nil, &job.UnavailableError{Err: errors.New("answered 503")}
}

var defaults = job.Settings{
	FreshFor: 10 * time.Second, StaleFor: 2 * time.Minute, RejectedFor: 10 * time.Second,
	MaxJobs: 100, MaxRejected: 100, Timeout: 30 * time.Second, Needs: noNeeds,
}

// newRegistry runs a registry for the length of a synctest bubble.
func newRegistry(t *testing.T, s *source, settings job.Settings) *job.Registry {
	t.Helper()
	r, err := job.NewRegistry(s.sources(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return r
}

func lookup(t *testing.T, r *job.Registry, token string) job.Answer {
	t.Helper()
	a, err := r.Lookup(t.Context(), jobToken(token))
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	return a
}

func wantRejected(t *testing.T, err error) {
	t.Helper()
	var rejected *job.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatalf("error is %v, want a rejection", err)
	}
}

func wantCalls(t *testing.T, s *source, want int) {
	t.Helper()
	if got := s.count(); got != want {
		t.Fatalf("the source was asked %d times, want %d", got, want)
	}
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	var unavailable *job.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("error is %v, want GitLab unavailable", err)
	}
}

func TestLookup_RejectionIsRememberedForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: ended}
		r := newRegistry(t, s, defaults)
		for range 3 {
			_, err := r.Lookup(t.Context(), jobToken("token"))
			wantRejected(t, err)
		}
		wantCalls(t, s, 1)
		time.Sleep(10 * time.Second)
		s.set(runs)
		lookup(t, r, "token")
		wantCalls(t, s, 2)
	})
}

func TestLookup_TroubleIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: down}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), jobToken("token"))
		wantUnavailable(t, err)
		s.set(runs)
		lookup(t, r, "token")
	})
}

func TestLookup_RetryAfterIsKeptForThatTokenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(string) (*job.Job, error) {
			return nil, &job.UnavailableError{Err: errors.New("answered 429"), RetryAfter: 20 * time.Second}
		}
		s := &source{answer: limited}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), jobToken("limited"))
		wantUnavailable(t, err)
		s.set(runs)
		time.Sleep(19 * time.Second)
		_, err = r.Lookup(t.Context(), jobToken("limited"))
		wantUnavailable(t, err)
		lookup(t, r, "another")
		wantCalls(t, s, 2)
		time.Sleep(time.Second)
		lookup(t, r, "limited")
	})
}

func TestLookup_TokensOwnEndBoundsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		expires := time.Now().Add(15 * time.Second)
		c := job.Credential{Token: "token", Expires: expires}
		if _, err := r.Lookup(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		s.set(down)
		_, err := r.Lookup(t.Context(), c)
		wantRejected(t, err)
		wantCalls(t, s, 1)
	})
}

func TestLookup_ThousandCallersShareOneLookup(t *testing.T) {
	rows := []struct {
		name   string
		answer func(string) (*job.Job, error)
		want   func(*testing.T, error)
	}{
		{"live job", runs, func(t *testing.T, err error) {
			if err != nil {
				t.Error(err)
			}
		}},
		{"ended job", ended, wantRejected},
		{"GitLab down", down, wantUnavailable},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{answer: row.answer, takes: time.Second}
				r := newRegistry(t, s, defaults)
				errs := make([]error, 1000)
				var first atomic.Int64
				var callers sync.WaitGroup
				for i := range errs {
					callers.Go(func() {
						var a job.Answer
						a, errs[i] = r.Lookup(t.Context(), jobToken("token"))
						a.RecordOnce(func() bool { first.Add(1); return true })
					})
				}
				callers.Wait()
				wantCalls(t, s, 1)
				for _, err := range errs {
					row.want(t, err)
				}
				if errs[0] == nil && first.Load() != 1 {
					t.Errorf("the first use was recorded %d times, want once", first.Load())
				}
			})
		})
	}
}

func TestLookup_GoesOnWhenItsFirstCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs, takes: 2 * time.Second}
		r := newRegistry(t, s, defaults)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := r.Lookup(ctx, jobToken("token")); left <- err }()
		synctest.Wait()
		stayed := make(chan error, 1)
		go func() { _, err := r.Lookup(t.Context(), jobToken("token")); stayed <- err }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left got %v", err)
		}
		if err := <-stayed; err != nil {
			t.Errorf("the caller that stayed got %v", err)
		}
		wantCalls(t, s, 1)
	})
}

func TestLookup_PanicCostsOneLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(string) (*job.Job, error) { panic("secret") }}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), jobToken("token"))
		if !errors.Is(err, job.ErrPanic) {
			t.Fatalf("error is %v, want ErrPanic", err)
		}
		s.set(runs)
		lookup(t, r, "token")
	})
}

func TestLookup_FloodOfBadTokensPushesNoJobOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		metrics := prometheus.NewPedanticRegistry()
		r, err := job.NewRegistry(s.sources(), defaults, metrics)
		if err != nil {
			t.Fatal(err)
		}
		for i := range defaults.MaxJobs {
			lookup(t, r, "job "+strconv.Itoa(i))
		}
		s.set(ended)
		for i := range 10 * defaults.MaxRejected {
			_, err := r.Lookup(t.Context(), jobToken("bad "+strconv.Itoa(i)))
			wantRejected(t, err)
		}
		for i := range defaults.MaxJobs {
			lookup(t, r, "job "+strconv.Itoa(i))
		}
		for name, want := range map[string]float64{
			"jobgate_jobs_known": float64(defaults.MaxJobs), "jobgate_tokens_refused": float64(defaults.MaxRejected),
		} {
			if got := gathered(t, metrics, name); got != want {
				t.Errorf("%s is %g, want %g", name, got, want)
			}
		}
	})
}

func gathered(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestRun_SweepsWhatIsTooOldToServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		id := lookup(t, r, "token").Job.ID
		time.Sleep(5 * time.Minute)
		if _, err := r.LookupID(t.Context(), byID(id)); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("an idle job after five minutes: %v, want ErrUnknown", err)
		}
	})
}

func TestLookup_TokenThatTimedOutIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(string) (*job.Job, error) {
			return nil, &job.UnavailableError{Err: errors.New("no answer"), TimedOut: true}
		}}
		r := newRegistry(t, s, defaults)
		for range 50 { // for 4.9 s
			_, err := r.Lookup(t.Context(), jobToken("token"))
			wantUnavailable(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		wantCalls(t, s, 1)
		s.set(runs)
		lookup(t, r, "token")
	})
}

func TestLookup_FleetingRejectionIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: func(string) (*job.Job, error) { return nil, &job.RejectedError{Rejection: job.Invalid, Fleeting: true} }}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), jobToken("token"))
		wantRejected(t, err)
		s.set(runs)
		lookup(t, r, "token")
	})
}

func TestLookup_RejectionOfAKnownTokenNamesItsJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		id := lookup(t, r, "token").Job.ID
		time.Sleep(10 * time.Second)
		s.set(ended)
		for range 2 { // asked, and remembered
			_, err := r.Lookup(t.Context(), jobToken("token"))
			var rejected *job.RejectedError
			if !errors.As(err, &rejected) || rejected.Job == nil || rejected.Job.ID != id {
				t.Errorf("error is %+v, want a rejection with job %d", err, id)
			}
		}
	})
}

// What one kind of credential proves of a text, the other does not.
func TestLookup_KindsOfCredentialsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "token")
		if _, err := r.Lookup(t.Context(), job.Credential{Kind: job.IDToken, Token: "token"}); err != nil {
			t.Fatal(err)
		}
		wantCalls(t, s, 2)
	})
}

func TestNewRegistry_RefusesCachesWithoutRoom(t *testing.T) {
	for name, s := range map[string]job.Settings{
		"no jobs":       {MaxJobs: 0, MaxRejected: 1},
		"no rejections": {MaxJobs: 1, MaxRejected: 0},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := job.NewRegistry((&source{}).sources(), s, nil); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestMetrics_CountHowLookupsWereAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		metrics := prometheus.NewPedanticRegistry()
		r, err := job.NewRegistry(s.sources(), defaults, metrics)
		if err != nil {
			t.Fatal(err)
		}
		lookup(t, r, "token")
		lookup(t, r, "token")
		time.Sleep(20 * time.Second)
		s.set(down)
		lookup(t, r, "token")
		s.set(ended)
		for range 3 {
			_, err := r.Lookup(t.Context(), jobToken("bad"))
			wantRejected(t, err)
		}
		want := map[string]float64{"asked": 3, "fresh": 1, "stale": 1, "remembered": 2}
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if f.GetName() == "jobgate_job_lookups_total" {
				for _, m := range f.GetMetric() {
					got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lookups (-want +got):\n%s", diff)
		}
		if problems, err := testutil.GatherAndLint(metrics); err != nil || len(problems) > 0 {
			t.Errorf("metrics lint: %v %v", problems, err)
		}
	})
}

func BenchmarkLookup_KnownJob(b *testing.B) {
	r, err := job.NewRegistry((&source{answer: runs}).sources(), job.Settings{
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Second, MaxJobs: 1 << 16, MaxRejected: 1,
		Timeout: time.Minute, Needs: noNeeds,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := r.Lookup(b.Context(), jobToken(fmt.Sprintf("glcbt-64_%020d", i))); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(b.Context(), jobToken("glcbt-64_00000000000000000500")); err != nil {
			b.Fatal(err)
		}
	}
}
