package e2e_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

// Two instances of jobgate share an address. One restarts, then the other one, and so on; meanwhile jobs use the API server, and
// new ones log in. RESTARTS says how often (make restarts).
func TestInstances_RestartsFailNoRequest(t *testing.T) {
	both := twoInstances(t, site.Jobgate)
	load := startTraffic(t, site.API)
	times := restartCount(t)
	for n := range times {
		load.answerMore(t)
		if err := both[n%2].Restart(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	load.answerMore(t)
	failures := load.stop()
	t.Logf("%d restarts: %d requests, %d of them first logins; %d failed", times, load.sent, load.logins, len(failures))
	for _, err := range failures {
		t.Error(err)
	}
}

// A killed instance breaks what it was answering; the next requests reach the other one without anyone's help.
func TestInstances_KilledInstance(t *testing.T) {
	both := twoInstances(t, site.Jobgate)
	load := startTraffic(t, site.API)
	times := restartCount(t)
	for n := range times {
		load.answerMore(t)
		both[n%2].Kill()
		load.answerWell(t)
		if err := both[n%2].Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	failures := load.stop()
	t.Logf("%d times killed: %d requests, %d of them first logins; %d failed", times, load.sent, load.logins, len(failures))
	for _, err := range failures {
		t.Log(err)
	}
}

func restartCount(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("RESTARTS"), "2"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// twoInstances are a jobgate and a second one, which ends with the test.
func twoInstances(t *testing.T, first *sandbox.Jobgate) [2]*sandbox.Jobgate {
	t.Helper()
	second, err := site.StartSecond(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := second.Stop(); err != nil {
			t.Error(err)
		}
	})
	return [2]*sandbox.Jobgate{first, second}
}

// The traffic: requests in a second, and which part of them are a new job's first.
const (
	trafficRate = 50
	loginEvery  = 5
	runningJobs = 8
	// betweenRestarts are requests that have to be answered before the next instance is restarted.
	betweenRestarts = 25
)

// traffic is what jobs ask an API server at trafficRate. Each request is another one to the authorizer, so none of them is
// answered from a cache.
type traffic struct {
	client  *http.Client
	url     string
	ended   chan struct{}
	running sync.WaitGroup

	sent, logins int // once stopped

	mu       sync.Mutex
	answered int
	inARow   int // of the last answers, how many were good
	failures []error
}

// newTraffic may read; it sends nothing yet.
func newTraffic(t *testing.T, server *controlplane.APIServer) *traffic {
	t.Helper()
	role := fmt.Sprintf("restarts-%d", jobCount.Load())
	succeed(t, admin(t), "create", "clusterrole", role, "--verb=get", "--resource=configmaps")
	putBack(t, admin(t), "delete", "clusterrole", role)
	succeed(t, admin(t), "create", "clusterrolebinding", role, "--clusterrole="+role, fmt.Sprintf("--group=gitlab:project:%d", project))
	putBack(t, admin(t), "delete", "clusterrolebinding", role)
	l := &traffic{
		client: &http.Client{
			Timeout: patience,
			Transport: &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: site.Plane.Roots()},
			},
		},
		url: server.URL + "/api/v1/namespaces/default/configmaps/", ended: make(chan struct{}),
	}
	bearer := mustCredential(t)
	eventually.Succeeds(t, func() error { return l.get(t.Context(), bearer) })
	t.Cleanup(l.client.CloseIdleConnections)
	return l
}

func startTraffic(t *testing.T, server *controlplane.APIServer) *traffic {
	t.Helper()
	l := newTraffic(t, server)
	var jobs []string
	for range runningJobs {
		jobs = append(jobs, mustCredential(t))
	}
	l.running.Go(func() { l.send(context.WithoutCancel(t.Context()), jobs) })
	t.Cleanup(func() { l.stop() })
	return l
}

func mustCredential(t *testing.T) string {
	t.Helper()
	bearer, err := newCredential()
	if err != nil {
		t.Fatal(err)
	}
	return bearer
}

// newCredential is that of a job that no one has seen yet.
func newCredential() (string, error) {
	id := firstJob + jobCount.Add(1) - 1
	err := site.GitLab.Update(func(w *gitlabtest.Instance) {
		w.Jobs = append(w.Jobs, gitlabtest.Job{
			ID: id, Status: "running", Project: project, User: developer, Pipeline: gitlabtest.Pipeline{ID: id - 1e6, Ref: "main"},
		})
	})
	if err != nil {
		return "", err
	}
	gitlab := site.GitLab.Instance()
	return fmt.Sprintf("ci:%d:%s", ciJobAgent, gitlab.Job(id).Token), nil
}

func (l *traffic) send(ctx context.Context, jobs []string) {
	ticker := time.NewTicker(time.Second / trafficRate)
	defer ticker.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ticker.C:
		}
		bearer, err := jobs[l.sent%len(jobs)], error(nil)
		l.sent++
		if l.sent%loginEvery == 0 {
			bearer, err = newCredential()
			l.logins++
		}
		l.running.Go(func() {
			if err == nil {
				err = l.get(ctx, bearer)
			}
			l.note(err)
		})
	}
}

func (l *traffic) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered++
	l.inARow++
	if err != nil {
		l.inARow, l.failures = 0, append(l.failures, err)
	}
}

// get asks for an object that is not there. The answer says so only to those who may read it.
func (l *traffic) get(ctx context.Context, bearer string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+strconv.FormatInt(time.Now().UnixNano(), 10), nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+bearer)
	response, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusNotFound {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}

// answerMore returns when further requests have been answered.
func (l *traffic) answerMore(t *testing.T) {
	t.Helper()
	goal := l.read(func() int { return l.answered }) + betweenRestarts
	eventually.True(t, "further requests are answered", func() bool { return l.read(func() int { return l.answered }) >= goal })
}

// answerWell returns when further requests have been answered, and none has failed in between.
func (l *traffic) answerWell(t *testing.T) {
	t.Helper()
	l.read(func() int { l.inARow = 0; return 0 })
	eventually.True(t, "no request fails any more", func() bool { return l.read(func() int { return l.inARow }) >= betweenRestarts })
}

func (l *traffic) read(count func() int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return count()
}

// stop waits for what is under way, and returns what has failed.
func (l *traffic) stop() []error {
	select {
	case <-l.ended:
	default:
		close(l.ended)
	}
	l.running.Wait()
	return l.failures
}
