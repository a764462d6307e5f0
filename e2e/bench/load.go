package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	requestTimeout = 30 * time.Second
	accessTimeout  = time.Minute
)

// load is what one user got out of the API server.
type load struct {
	PerSecond float64 `json:"requestsPerSecond"`
	P50       float64 `json:"p50Milliseconds"`
	P99       float64 `json:"p99Milliseconds"`
	// Processor is the time of each process, in milliseconds for 1,000 requests.
	Processor map[string]float64 `json:"processorMillisecondsPer1000"`
}

// typical takes the median of each figure. Processor time comes in steps too large for that, so its mean counts.
func typical(all []load) load {
	of := func(figure func(load) float64) float64 {
		values := make([]float64, 0, len(all))
		for _, l := range all {
			values = append(values, figure(l))
		}
		return median(values)
	}
	t := load{
		PerSecond: of(func(l load) float64 { return l.PerSecond }), P50: of(func(l load) float64 { return l.P50 }),
		P99: of(func(l load) float64 { return l.P99 }), Processor: map[string]float64{},
	}
	for name := range all[0].Processor {
		for _, l := range all {
			t.Processor[name] += l.Processor[name] / float64(len(all))
		}
	}
	return t
}

// user asks for one small object over one HTTP/2 connection.
type user struct {
	name, server, bearer string
	client               *http.Client
	asked                atomic.Int64
}

func newUser(name string, site *sandbox.Sandbox, bearer string) *user {
	return &user{name: name, server: site.API.URL, bearer: bearer, client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: site.Plane.Roots()}, ForceAttemptHTTP2: true,
	}}}
}

func (u *user) close() { u.client.CloseIdleConnections() }

// awaitAccess waits until RBAC lets the user in; the connection is open then.
func (u *user) awaitAccess(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, accessTimeout, true,
		func(ctx context.Context) (bool, error) {
			last = u.get(ctx, false)
			return last == nil, nil
		})
	if err != nil {
		return fmt.Errorf("wait for the access of the %s: %w", u.name, errors.Join(err, last))
	}
	return nil
}

// load keeps a number of requests in flight for the length of time. Any failure fails it.
func (u *user) load(ctx context.Context, at level, length time.Duration, processes map[string]int) (load, error) {
	before, err := processorTimes(processes)
	if err != nil {
		return load{}, err
	}
	took := make([][]time.Duration, at.InFlight)
	workers, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for worker := range took {
		workers.Go(func() error {
			for last := begin; last.Sub(begin) < length; {
				if err := u.get(ctx, at.Distinct); err != nil {
					return err
				}
				now := time.Now()
				took[worker] = append(took[worker], now.Sub(last))
				last = now
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return load{}, fmt.Errorf("measure the %s: %w", u.name, err)
	}
	seconds := time.Since(begin).Seconds()
	after, err := processorTimes(processes)
	if err != nil {
		return load{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	l := load{
		PerSecond: float64(len(all)) / seconds, P50: milliseconds(all[len(all)/2]), P99: milliseconds(all[len(all)*99/100]),
		Processor: map[string]float64{},
	}
	for name := range processes {
		l.Processor[name] = milliseconds(after[name]-before[name]) / float64(len(all)) * 1000
	}
	return l, nil
}

// get reads one small object, or asks for another each time, which is not there: what that costs is nearly the same.
func (u *user) get(ctx context.Context, distinct bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	path, want := "/api/v1/namespaces/default/services/kubernetes", http.StatusOK
	if distinct {
		path, want = fmt.Sprintf("/api/v1/namespaces/default/services/absent-%d", u.asked.Add(1)), http.StatusNotFound
	}
	response, err := u.open(ctx, path, want)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// open sends a request, which must be answered as wanted.
func (u *user) open(ctx context.Context, path string, want int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.server+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+u.bearer)
	response, err := u.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != want {
		response.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", path, response.Status)
	}
	return response, nil
}
