package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	inFlight       = 16
	requestTimeout = 30 * time.Second
	accessTimeout  = time.Minute
)

// user asks for one small object over one HTTP/2 connection.
type user struct {
	name   string
	url    string
	bearer string // empty: the transport has a client certificate
	client *http.Client
}

// users are the two to compare.
func users(site *sandbox.Sandbox) (job, certificate *user, err error) {
	gitlab := site.GitLab.Instance()
	files, err := site.Plane.IssueClient("certificate-user")
	if err != nil {
		return nil, nil, err
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("load the client certificate: %w", err)
	}
	plain := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: site.Plane.Roots()}
	mutual := plain.Clone()
	mutual.Certificates = []tls.Certificate{pair}
	url := site.API.URL + "/api/v1/namespaces/default/services/kubernetes"
	return &user{
			name: "CI job", url: url, client: newClient(plain),
			bearer: fmt.Sprintf("ci:%d:%s", gitlabtest.ExampleAgent, gitlab.Job(gitlabtest.ExampleJob).Token),
		}, &user{
			name: "client certificate", url: url, client: newClient(mutual),
		}, nil
}

func newClient(configuration *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: configuration, ForceAttemptHTTP2: true},
		Timeout:   requestTimeout,
	}
}

func (u *user) close() { u.client.CloseIdleConnections() }

// awaitAccess waits until RBAC lets the user in; the connection is open then.
func (u *user) awaitAccess(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, accessTimeout, true,
		func(ctx context.Context) (bool, error) {
			last = u.get(ctx)
			return last == nil, nil
		})
	if err != nil {
		return fmt.Errorf("wait for the access of the %s: %w", u.name, errors.Join(err, last))
	}
	return nil
}

// requestsPerSecond keeps a number of requests in flight for the length of time. Any failure fails it.
func (u *user) requestsPerSecond(ctx context.Context, length time.Duration) (float64, error) {
	var done atomic.Int64
	workers, ctx := errgroup.WithContext(ctx)
	begin := time.Now()
	for range inFlight {
		workers.Go(func() error {
			for time.Since(begin) < length {
				if err := u.get(ctx); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	if err := workers.Wait(); err != nil {
		return 0, fmt.Errorf("measure the %s: %w", u.name, err)
	}
	return float64(done.Load()) / time.Since(begin).Seconds(), nil
}

func (u *user) get(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url, nil)
	if err != nil {
		return err
	}
	if u.bearer != "" {
		request.Header.Set("Authorization", "Bearer "+u.bearer)
	}
	response, err := u.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", u.url, response.Status)
	}
	return nil
}
