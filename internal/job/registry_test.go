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

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// source is GitLab as the registry sees it, under the test's clock.
type source struct {
	job.FactSource // asked for nothing here: no rule needs a fact
	mu             sync.Mutex
	calls          []gitlab.Urgency
	answer         func(token string) (*gitlab.AllowedAgents, error)
	takes          time.Duration
	blocked        chan struct{} // when set, lookups wait until it is closed
}

func (s *source) AllowedAgents(ctx context.Context, token string, u gitlab.Urgency) (*gitlab.AllowedAgents, error) {
	s.mu.Lock()
	s.calls = append(s.calls, u)
	answer, takes, blocked := s.answer, s.takes, s.blocked
	s.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return answer(token)
}

func (s *source) set(answer func(string) (*gitlab.AllowedAgents, error)) {
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
func runs(token string) (*gitlab.AllowedAgents, error) {
	id := int64(0)
	for _, c := range token {
		id = id*31 + int64(c)
	}
	return reply(id & 0xffffff), nil
}

func reply(id int64) *gitlab.AllowedAgents {
	return &gitlab.AllowedAgents{
		JobID: id, PipelineID: 501, ProjectID: 150, GroupIDs: []int64{25, 23}, UserID: 9, Username: "jdoe",
		Agents: []gitlab.AllowedAgent{
			{ID: 4, ConfigProjectID: 7, Configuration: []byte(`{"access_as":{"ci_job":{}}}`)},
			{ID: 5, ConfigProjectID: 7, Configuration: []byte(`{"access_as":{"ci_user":{}}}`)},
			{ID: 6, ConfigProjectID: 7, Configuration: []byte(`{}`)},
			{ID: 4, ConfigProjectID: 8, Configuration: []byte(`{}`)},
		},
	}
}

func ended(string) (*gitlab.AllowedAgents, error) { return nil, &gitlab.RejectedError{Status: 401} }

func down(string) (*gitlab.AllowedAgents, error) {
	return nil, &gitlab.UnavailableError{Err: errors.New("answered 503")}
}

var defaults = job.Settings{
	FreshFor: 10 * time.Second, StaleFor: 2 * time.Minute, RejectedFor: 10 * time.Second,
	MaxJobs: 100, MaxRejected: 100, Timeout: 30 * time.Second, Agents: served(4, 5),
}

func served(ids ...int64) (agents []job.ServedAgent) {
	for _, id := range ids {
		agents = append(agents, job.ServedAgent{ID: id, FiltersProtectedBranches: true})
	}
	return agents
}

// newRegistry runs a registry for the length of a synctest bubble.
func newRegistry(t *testing.T, s *source, settings job.Settings) *job.Registry {
	t.Helper()
	r, err := job.NewRegistry(s, settings, nil)
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
	a, err := r.Lookup(t.Context(), token, time.Time{})
	if err != nil {
		t.Fatalf("Lookup: %v", err)
	}
	return a
}

func wantRejected(t *testing.T, err error) {
	t.Helper()
	var rejected *gitlab.RejectedError
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

func TestLookup_KeepsOfTheReplyWhatConcernsServedAgents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, &source{answer: runs}, defaults)
		got := lookup(t, r, "token").Job
		if len(got.Agents) != 2 || got.Agent(4) == nil || got.Agent(5) == nil || got.Agent(6) != nil {
			t.Fatalf("agents are %+v, want 4 and 5", got.Agents)
		}
		if a := got.Agent(4); a.ConfigProjectID != 7 || a.Configuration.AccessAs != gitlab.AsCIJob || a.Err != nil {
			t.Errorf("agent 4 is %+v, want the first of its two entries", a)
		}
		if a := got.Agent(5); !errors.Is(a.Err, gitlab.ErrConfiguration) {
			t.Errorf("agent 5 has error %v, want its unknown mode to be one", a.Err)
		}
		if diff := cmp.Diff([]int64{25, 23}, got.GroupIDs); diff != "" {
			t.Errorf("groups (-want +got):\n%s", diff)
		}
	})
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	var unavailable *gitlab.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatalf("error is %v, want GitLab unavailable", err)
	}
}

func TestLookup_RejectionIsRememberedForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: ended}
		r := newRegistry(t, s, defaults)
		for range 3 {
			_, err := r.Lookup(t.Context(), "token", time.Time{})
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
		_, err := r.Lookup(t.Context(), "token", time.Time{})
		wantUnavailable(t, err)
		s.set(runs)
		lookup(t, r, "token")
	})
}

func TestLookup_RetryAfterIsKeptForThatTokenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limited := func(string) (*gitlab.AllowedAgents, error) {
			return nil, &gitlab.UnavailableError{Err: errors.New("answered 429"), RetryAfter: 20 * time.Second}
		}
		s := &source{answer: limited}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), "limited", time.Time{})
		wantUnavailable(t, err)
		s.set(runs)
		time.Sleep(19 * time.Second)
		_, err = r.Lookup(t.Context(), "limited", time.Time{})
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
		if _, err := r.Lookup(t.Context(), "token", expires); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		s.set(down)
		_, err := r.Lookup(t.Context(), "token", expires)
		wantUnavailable(t, err)
	})
}

func TestLookup_ThousandCallersShareOneFlight(t *testing.T) {
	rows := []struct {
		name   string
		answer func(string) (*gitlab.AllowedAgents, error)
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
						if a, errs[i] = r.Lookup(t.Context(), "token", time.Time{}); a.FirstUse() {
							first.Add(1)
						}
					})
				}
				callers.Wait()
				wantCalls(t, s, 1)
				for _, err := range errs {
					row.want(t, err)
				}
				if errs[0] == nil && first.Load() != 1 {
					t.Errorf("%d callers were the first to use the job, want 1", first.Load())
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
		go func() { _, err := r.Lookup(ctx, "token", time.Time{}); left <- err }()
		synctest.Wait()
		stayed := make(chan error, 1)
		go func() { _, err := r.Lookup(t.Context(), "token", time.Time{}); stayed <- err }()
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
		s := &source{answer: func(string) (*gitlab.AllowedAgents, error) { panic("secret") }}
		r := newRegistry(t, s, defaults)
		_, err := r.Lookup(t.Context(), "token", time.Time{})
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
		r, err := job.NewRegistry(s, defaults, metrics)
		if err != nil {
			t.Fatal(err)
		}
		for i := range defaults.MaxJobs {
			lookup(t, r, "job "+strconv.Itoa(i))
		}
		s.set(ended)
		for i := range 10 * defaults.MaxRejected {
			_, err := r.Lookup(t.Context(), "bad "+strconv.Itoa(i), time.Time{})
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
		if _, err := r.LookupID(t.Context(), id); !errors.Is(err, job.ErrUnknown) {
			t.Errorf("an idle job after five minutes: %v, want ErrUnknown", err)
		}
	})
}

func TestConfigure_NewAgentIsLookedUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "token")
		r.Configure(defaults)
		lookup(t, r, "token")
		wantCalls(t, s, 1)

		more := defaults
		more.Agents = served(6, 5, 4)
		r.Configure(more)
		if lookup(t, r, "token").Job.Agent(6) == nil {
			t.Error("agent 6 is not known after it was configured")
		}
		wantCalls(t, s, 2)
		lookup(t, r, "token")
		wantCalls(t, s, 2)
	})
}

func TestSetSource_LaterLookupsGoThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := &source{answer: runs}, &source{answer: runs}
		r := newRegistry(t, before, defaults)
		lookup(t, r, "one")
		r.SetSource(after)
		lookup(t, r, "two")
		wantCalls(t, before, 1)
		wantCalls(t, after, 1)
	})
}

func TestNewRegistry_RefusesCachesWithoutRoom(t *testing.T) {
	for name, s := range map[string]job.Settings{
		"no jobs":       {MaxJobs: 0, MaxRejected: 1},
		"no rejections": {MaxJobs: 1, MaxRejected: 0},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := job.NewRegistry(&source{}, s, nil); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestMetrics_CountHowLookupsWereAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		metrics := prometheus.NewPedanticRegistry()
		r, err := job.NewRegistry(s, defaults, metrics)
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
			_, err := r.Lookup(t.Context(), "bad", time.Time{})
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
	r, err := job.NewRegistry(&source{answer: runs}, job.Settings{
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Second, MaxJobs: 1 << 16, MaxRejected: 1,
		Timeout: time.Minute, Agents: served(4),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := r.Lookup(b.Context(), fmt.Sprintf("glcbt-64_%020d", i), time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Lookup(b.Context(), "glcbt-64_00000000000000000500", time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}
