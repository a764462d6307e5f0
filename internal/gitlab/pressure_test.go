package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// upstream is a GitLab in a bubble of synctest: it answers by the beginning of the token, after a time. It stands in for
// the network alone; the client above it is the real one.
type upstream struct {
	latency  time.Duration
	down     atomic.Bool // answers nothing at all
	requests atomic.Int64
	open     atomic.Int64
	most     atomic.Int64
}

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.requests.Add(1)
	if n := u.open.Add(1); n > u.most.Load() {
		u.most.Store(n)
	}
	defer u.open.Add(-1)
	markSent(r)
	token := r.Header.Get("JOB-TOKEN")
	latency := u.latency
	if u.down.Load() || strings.HasPrefix(token, "hanging") {
		latency = time.Hour
	}
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	switch {
	case strings.HasPrefix(token, "job"):
		return reply(http.StatusOK, `{"job":{"id":1},"pipeline":{"id":2},"project":{"id":3},"user":{"id":4,"username":"u"}}`), nil
	case r.URL.Path == "/api/v4/projects/3/environments":
		return reply(http.StatusOK, "[]"), nil
	default:
		return reply(http.StatusUnauthorized, `{"message":"401 Unauthorized"}`), nil
	}
}

func reply(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}
}

// defaults are those of the configuration file.
func defaults() Options {
	return Options{
		Timeout: 10 * time.Second, MaxInFlight: 64, RequestsPerSecond: 200, Burst: 1000,
		RetryInterval: defaultRetryInterval, Metrics: NewMetrics(nil),
	}
}

// pressing is a client with default settings over an upstream.
func pressing(t *testing.T, u *upstream) *Client {
	t.Helper()
	base, err := url.Parse("http://gitlab.invalid")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(defaults(), base, credential{}, u)
	t.Cleanup(c.Close)
	return c
}

// traffic counts lookups of one kind that go on beside each other.
type traffic struct {
	client *Client
	lane   job.Lane
	wait   sync.WaitGroup

	mu         sync.Mutex
	ok, failed int
	slowest    time.Duration // of those that are ok
	err        error         // the latest
}

// ask sends one lookup of a token that no other lookup has.
func (f *traffic) ask(ctx context.Context, token string) {
	f.wait.Go(func() {
		start := time.Now()
		_, err := f.client.Identify(ctx, token, nil, f.lane)
		took := time.Since(start)
		f.mu.Lock()
		defer f.mu.Unlock()
		var rejected *job.RejectedError
		if err != nil && !errors.As(err, &rejected) {
			f.failed, f.err = f.failed+1, err
			return
		}
		f.ok++
		f.slowest = max(f.slowest, took)
	})
}

// every asks with tokens of a kind until the context ends, at irregular intervals of that length on average.
func (f *traffic) every(ctx context.Context, interval time.Duration, kind string) {
	random := rand.New(rand.NewPCG(1, uint64(interval)))
	f.wait.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-time.After(time.Duration(random.ExpFloat64() * float64(interval))):
				f.ask(context.WithoutCancel(ctx), fmt.Sprintf("%s-%d", kind, i))
			case <-ctx.Done():
				return
			}
		}
	})
}

func (f *traffic) String() string {
	return fmt.Sprintf("%d ok, slowest %s, %d failed, latest error %v", f.ok, f.slowest, f.failed, f.err)
}

// attack runs an attacker's traffic beside 100 running jobs that are refreshed every ten seconds and two logins a second.
// It returns what became of the two, and of the logins that begin a second after the attack.
func attack(t *testing.T, interval time.Duration, kind string, lane job.Lane) (running, during, after *traffic) {
	t.Helper()
	u := &upstream{latency: 20 * time.Millisecond}
	c := pressing(t, u)
	running = &traffic{client: c, lane: job.Refreshes}
	during = &traffic{client: c, lane: job.Logins}
	after = &traffic{client: c, lane: job.Logins}
	attackers := &traffic{client: c, lane: lane}

	life, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	running.every(life, 100*time.Millisecond, "job-running")
	attacked, end := context.WithTimeout(life, 30*time.Second)
	defer end()
	attackers.every(attacked, interval, kind)
	during.every(attacked, 500*time.Millisecond, "job-during")
	<-attacked.Done()
	time.Sleep(time.Second)
	after.every(life, 500*time.Millisecond, "job-after")
	<-life.Done()
	for _, f := range []*traffic{running, during, after, attackers} {
		f.wait.Wait()
	}
	t.Logf("running: %s", running)
	t.Logf("logins during: %s", during)
	t.Logf("logins after: %s", after)
	t.Logf("attackers: %s", attackers)
	t.Logf("%d requests, at most %d at once", u.requests.Load(), u.most.Load())
	return running, during, after
}

func TestPressure_UnknownTokensDoNotStopRunningJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, during, after := attack(t, time.Second/2000, "unknown", job.Logins)
		if running.failed > 0 || running.slowest > time.Second {
			t.Errorf("running jobs: %s", running)
		}
		// The lane lets 200 of 2,002 logins a second through, and the honest ones among them as often as the others.
		if during.ok*20 < during.ok+during.failed {
			t.Errorf("logins during the flood: %s", during)
		}
		if after.failed > 0 || after.slowest > time.Second {
			t.Errorf("logins after the flood: %s", after)
		}
	})
}

// Of a job that is known by its id alone, GitLab has not said yet that there is one.
func TestPressure_MadeUpIDsDoNotStopRunningJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, during, after := attack(t, time.Second/2000, "unknown", job.Strangers)
		for name, f := range map[string]*traffic{"running jobs": running, "logins during": during, "logins after": after} {
			if f.failed > 0 || f.slowest > time.Second {
				t.Errorf("%s: %s", name, f)
			}
		}
	})
}

func TestPressure_HangingLookupsStopNothing(t *testing.T) {
	rows := []struct {
		name string
		lane job.Lane
	}{{"of unknown tokens", job.Logins}, {"of running jobs", job.Refreshes}, {"of ids", job.Strangers}}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				running, during, after := attack(t, time.Second/20, "hanging", row.lane)
				for name, f := range map[string]*traffic{"running jobs": running, "logins during": during, "logins after": after} {
					if f.failed > 0 || f.slowest > time.Second {
						t.Errorf("%s: %s", name, f)
					}
				}
			})
		})
	}
}

// Slightly more than the rate limit used to open the circuit after some seconds, and to keep it open.
func TestPressure_OwnDeadlinesDoNotOpenTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, during, _ := attack(t, time.Second/260, "unknown", job.Logins)
		if running.failed > 0 || errors.Is(during.err, ErrCircuitOpen) {
			t.Errorf("running jobs: %s; logins: %s", running, during)
		}
		if during.ok*2 < during.ok+during.failed {
			t.Errorf("logins during the flood: %s", during)
		}
	})
}

func TestPressure_BurstsOfHonestLogins(t *testing.T) {
	rows := []struct {
		name    string
		logins  int
		latency time.Duration
		within  time.Duration
	}{
		{name: "500, GitLab answers in 50 ms", logins: 500, latency: 50 * time.Millisecond, within: 1500 * time.Millisecond},
		{name: "1,500, GitLab answers in 600 ms", logins: 1500, latency: 600 * time.Millisecond, within: 10 * time.Second},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &upstream{latency: row.latency}
				f := &traffic{client: pressing(t, u), lane: job.Logins}
				for i := range row.logins {
					f.ask(t.Context(), fmt.Sprintf("job-%d", i))
				}
				f.wait.Wait()
				t.Logf("%s; at most %d at once", f, u.most.Load())
				if f.failed > 0 || f.slowest > row.within {
					t.Errorf("logins: %s", f)
				}
			})
		})
	}
}

// markSent does what net/http's transport does once it has written a request.
func markSent(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.WroteRequest != nil {
		trace.WroteRequest(httptrace.WroteRequestInfo{})
	}
}

// reviews serves a project with 4,900 environments, of which none has the slug asked for, and the jobs that run there.
type reviews struct {
	upstream

	listed atomic.Int64
	atOnce atomic.Int64
	most   atomic.Int64
}

func (u *reviews) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/environments") {
		return u.upstream.RoundTrip(r)
	}
	u.listed.Add(1)
	if n := u.atOnce.Add(1); n > u.most.Load() {
		u.most.Store(n)
	}
	defer u.atOnce.Add(-1)
	time.Sleep(u.latency)
	const pages = 49
	var number int
	fmt.Sscan(r.URL.Query().Get("page"), &number)
	if search := r.URL.Query().Get("search"); search != "" || number > pages {
		return reply(http.StatusOK, "[]"), nil
	}
	entries := make([]string, perPage)
	for i := range entries {
		n := (number-1)*perPage + i
		entries[i] = fmt.Sprintf(`{"name":"review/%d","slug":"review-%d"}`, n, n)
	}
	answer := reply(http.StatusOK, "["+strings.Join(entries, ",")+"]")
	if number < pages {
		answer.Header.Set("X-Next-Page", fmt.Sprint(number+1))
	}
	return answer, nil
}

// 60 jobs of a project with 4,900 environments used to ask for the first pages again and again, without end.
func TestPressure_HugeProjectSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &reviews{upstream: upstream{latency: 200 * time.Millisecond}}
		c := pressing(t, &u.upstream)
		c.http.Transport = u
		running := &traffic{client: c, lane: job.Refreshes}
		logins := &traffic{client: c, lane: job.Logins}
		life, stop := context.WithTimeout(t.Context(), 60*time.Second)
		defer stop()
		running.every(life, 100*time.Millisecond, "job-running")
		logins.every(life, 500*time.Millisecond, "job-login")

		var jobs sync.WaitGroup
		var settled atomic.Int64
		for i := range 60 {
			jobs.Go(func() {
				j := &job.Job{ID: int64(i) + 1, ProjectID: 3, Environment: job.Environment{Slug: fmt.Sprintf("review-%d", 80*i)}}
				for life.Err() == nil {
					if _, err := c.EnvironmentName(life, "token-of-it", j, []string{"*"}); err == nil {
						settled.Add(1)
						return
					}
					time.Sleep(10 * time.Second) // the next refresh
				}
			})
		}
		jobs.Wait()
		<-life.Done()
		running.wait.Wait()
		logins.wait.Wait()
		t.Logf("%d jobs settled with %d calls, %d at once; running: %s; logins: %s", settled.Load(), u.listed.Load(), u.most.Load(), running, logins)
		if settled.Load() != 60 || u.listed.Load() > 60 || u.most.Load() > 1 {
			t.Errorf("%d of 60 jobs settled, with %d calls, %d at once", settled.Load(), u.listed.Load(), u.most.Load())
		}
		for _, f := range []*traffic{running, logins} {
			if f.failed > 0 || f.slowest > time.Second {
				t.Errorf("meanwhile: %s", f)
			}
		}
	})
}

// Facts of many projects at once delay neither refreshes nor logins.
func TestPressure_ManyFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pressing(t, &upstream{latency: 50 * time.Millisecond})
		running := &traffic{client: c, lane: job.Refreshes}
		logins := &traffic{client: c, lane: job.Logins}
		life, stop := context.WithTimeout(t.Context(), 20*time.Second)
		defer stop()
		running.every(life, 50*time.Millisecond, "job-running")
		logins.every(life, 500*time.Millisecond, "job-login")
		var facts sync.WaitGroup
		for i := range 500 {
			facts.Go(func() {
				j := &job.Job{ProjectID: 3, Environment: job.Environment{Slug: "a"}}
				for n := 0; life.Err() == nil; n++ {
					if _, err := c.EnvironmentNamed(t.Context(), "token-of-it", j, fmt.Sprintf("%d-%d", i, n)); err != nil {
						time.Sleep(time.Second)
					}
				}
			})
		}
		<-life.Done()
		facts.Wait()
		running.wait.Wait()
		logins.wait.Wait()
		for _, f := range []*traffic{running, logins} {
			if f.failed > 0 || f.slowest > time.Second {
				t.Errorf("meanwhile: %s", f)
			}
		}
	})
}
