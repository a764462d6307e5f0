package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	// A job's life, and the pause between two of its requests.
	shortestLife, longestLife = 15 * time.Second, time.Minute
	shortestRest, longestRest = time.Second, 3 * time.Second
	// watchShare of the jobs also watch something.
	watchShare = 5
	// loginPatience is how long a job goes on trying to log in while GitLab is in trouble.
	loginPatience = time.Minute
	firstJob      = 100_000
)

// kind is how a job logs in.
type kind int

const (
	byAgent kind = iota
	byGrant
	byIDToken
	kinds
)

// workload keeps a number of jobs running: as one ends, another one starts.
type workload struct {
	o      options
	in     *installation
	ledger *ledger
	next   atomic.Int64
}

func newWorkload(o options, in *installation, l *ledger) *workload {
	w := &workload{o: o, in: in, ledger: l}
	w.next.Store(firstJob)
	return w
}

// run returns once all jobs that were under way have ended and were refused. No job starts after the working time.
func (w *workload) run(ctx, working context.Context) error {
	var all sync.WaitGroup
	failed := make(chan error, w.o.jobs)
	for place := range w.o.jobs {
		chance := rand.New(rand.NewPCG(w.o.seed, uint64(place)))
		all.Go(func() {
			// Not all at once: as jobs of a busy cluster do.
			pause(working, time.Duration(chance.Int64N(int64(shortestLife))))
			for working.Err() == nil {
				if err := w.live(ctx, working, chance); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// live is the life of one job, until it is refused after its end.
func (w *workload) live(ctx, working context.Context, chance *rand.Rand) error {
	j, err := w.begin(kind(chance.IntN(int(kinds))))
	if err != nil {
		return err
	}
	end := time.Now().Add(between(chance, shortestLife, longestLife))
	if !w.logIn(ctx, j) {
		return nil // it is in the ledger
	}
	watching, stopWatching := context.WithCancel(ctx)
	defer stopWatching()
	if chance.IntN(watchShare) == 0 {
		go w.watch(watching, j, end)
	}
	for time.Now().Before(end) && working.Err() == nil {
		pause(ctx, between(chance, shortestRest, longestRest))
		begun := time.Now()
		w.ledger.ofRunning(begun, w.get(ctx, j))
	}
	stopWatching()
	if err := w.end(j); err != nil {
		return err
	}
	return w.untilRefused(ctx, j, time.Now(), chance)
}

// job is a job and what it shows to the API server.
type job struct {
	id     int64
	bearer string
	asked  int
}

func (w *workload) begin(k kind) (*job, error) {
	id := w.next.Add(1)
	err := w.in.site.GitLab.Update(func(i *gitlabtest.Instance) {
		i.Jobs = append(i.Jobs, gitlabtest.Job{
			ID: id, Status: "running", Project: gitlabtest.ExampleProject, User: gitlabtest.ExampleUser,
			Pipeline: gitlabtest.Pipeline{Ref: "main"}, TokenFormat: "database",
		})
	})
	if err != nil {
		return nil, fmt.Errorf("begin a job: %w", err)
	}
	j := &job{id: id}
	gitlab := w.in.site.GitLab.Instance()
	switch k {
	case byAgent:
		j.bearer = fmt.Sprintf("ci:%d:%s", gitlabtest.ExampleAgent, gitlab.Job(id).Token)
	case byGrant:
		j.bearer = fmt.Sprintf("ci:%s:%s", cluster, gitlab.Job(id).Token)
	default:
		if j.bearer, err = w.in.site.GitLab.IDToken(id, audience); err != nil {
			return nil, fmt.Errorf("ask GitLab for an ID token: %w", err)
		}
	}
	return j, nil
}

func (w *workload) end(j *job) error {
	err := w.in.site.GitLab.Update(func(i *gitlabtest.Instance) { i.Job(j.id).Status = "success" })
	if err != nil {
		return fmt.Errorf("end a job: %w", err)
	}
	return nil
}

// logIn tries again while GitLab is in trouble, as a job's author would.
func (w *workload) logIn(ctx context.Context, j *job) bool {
	for first := time.Now(); ; pause(ctx, time.Second) {
		begun := time.Now()
		err := w.get(ctx, j)
		if w.ledger.ofLogin(begun, err); err == nil {
			return true
		}
		if ctx.Err() != nil || time.Since(first) > loginPatience {
			return false
		}
	}
}

func (w *workload) untilRefused(ctx context.Context, j *job, ended time.Time, chance *rand.Rand) error {
	for ctx.Err() == nil {
		begun := time.Now()
		if w.ledger.ofEnded(ended, begun, w.get(ctx, j)) {
			break
		}
		pause(ctx, between(chance, shortestRest/2, shortestRest))
	}
	return w.in.site.GitLab.Update(func(i *gitlabtest.Instance) {
		i.Jobs = slices.DeleteFunc(i.Jobs, func(other gitlabtest.Job) bool { return other.ID == j.id })
	})
}

// get asks for an object that is not there, another one each time, so that no answer comes from a cache of the API server.
func (w *workload) get(ctx context.Context, j *job) error {
	j.asked++
	status, text, err := w.ask(ctx, j, fmt.Sprintf("configmaps/job-%d-%d", j.id, j.asked))
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return nil
	default:
		return &refusedError{status: status, text: text}
	}
}

// refusedError is an answer other than the one that a job with rights gets.
type refusedError struct {
	status int
	text   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

const longestAnswer = 64 << 10

func (w *workload) ask(ctx context.Context, j *job, path string) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := w.open(ctx, j, path)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	return response.StatusCode, string(body), err
}

func (w *workload) open(ctx context.Context, j *job, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.in.api.URL+"/api/v1/namespaces/default/"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+j.bearer)
	return w.in.client.Do(request)
}

// watch holds a watch until the job ends. The API server does not ask about it again, so nothing may end it earlier.
func (w *workload) watch(ctx context.Context, j *job, until time.Time) {
	seconds := int(time.Until(until).Seconds()) + 1
	request := &job{id: j.id, bearer: j.bearer}
	response, err := w.open(ctx, request, fmt.Sprintf("configmaps?watch=true&timeoutSeconds=%d", seconds))
	if err != nil || response.StatusCode != http.StatusOK {
		if err == nil {
			response.Body.Close()
		}
		w.ledger.ofWatch(ctx.Err() == nil)
		return
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	w.ledger.ofWatch(ctx.Err() == nil && (err != nil || time.Until(until) > time.Second))
}

func between(chance *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(chance.Int64N(int64(most-least)))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
