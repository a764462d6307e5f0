package gitlab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

// Each fault of GitLab's meets each kind of question, over real HTTP under a fake clock.
func TestFaultMatrix(t *testing.T) {
	kinds := []struct {
		name string
		cell func(*faultRow) cell
		play func(*testing.T, *matrix, faultRow) (outcome, time.Duration)
	}{
		{"first login", func(r *faultRow) cell { return r.firstLogin }, firstLogin},
		{"refresh ahead", func(r *faultRow) cell { return r.refreshAhead }, refreshAhead},
		{"waiting refresh", func(r *faultRow) cell { return r.waitingRefresh }, waitingRefresh},
		{"fact", func(r *faultRow) cell { return r.fact }, factAtLogin},
	}
	for _, row := range faultRows() {
		for _, kind := range kinds {
			t.Run(row.name+"/"+kind.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMatrix(t, kind.name == "fact")
					want := kind.cell(&row)
					got, took := kind.play(t, m, row)
					if got != want.want || took > want.most {
						t.Errorf("%s after %s, want %s within %s", got, took, want.want, want.most)
					}
					// Whatever the request did not wait for has its end now.
					time.Sleep(15 * time.Second)
					if calls := m.gitlab.Calls(m.endpoint); want.calls != 0 && calls != want.calls {
						t.Errorf("%d calls, want %d", calls, want.calls)
					}
				})
			})
		}
	}
}

func firstLogin(_ *testing.T, m *matrix, row faultRow) (outcome, time.Duration) {
	m.hit(row)
	return m.ask()
}

// refreshAhead asks once, which starts the refresh, and again when it has ended and the last answer is still fresh.
func refreshAhead(t *testing.T, m *matrix, row faultRow) (outcome, time.Duration) {
	m.login(t)
	time.Sleep(m.settings.FreshFor/5*4 + time.Millisecond)
	m.hit(row)
	if got, took := m.ask(); got != admitted || took != 0 {
		t.Errorf("%s after %s by the request that starts the refresh, want %s at once", got, took, admitted)
	}
	time.Sleep(m.settings.FreshFor/5 - 10*time.Millisecond)
	return m.ask()
}

func waitingRefresh(t *testing.T, m *matrix, row faultRow) (outcome, time.Duration) {
	m.login(t)
	time.Sleep(m.settings.FreshFor + time.Millisecond)
	m.hit(row)
	return m.ask()
}

func factAtLogin(_ *testing.T, m *matrix, row faultRow) (outcome, time.Duration) {
	m.hit(row)
	return m.ask()
}

// matrix is a registry with a real client, and the fake GitLab behind a network in memory.
type matrix struct {
	gitlab   *gitlabtest.Server
	client   *Client
	registry *job.Registry
	settings job.Settings
	network  *memoryNetwork
	endpoint string // what the fault concerns
	facts    bool
}

const matrixToken = "glcbt-64_AbCdEfGhIjKlMnOpQrSt"

func newMatrix(t *testing.T, facts bool) *matrix {
	t.Helper()
	w := gitlabtest.Example()
	w.Jobs[0].Token = matrixToken
	m := &matrix{network: newMemoryNetwork(), endpoint: gitlabtest.AllowedAgents, facts: facts}
	var err error
	if m.gitlab, err = gitlabtest.Start(gitlabtest.Options{Instance: w, Listener: m.network}); err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(m.gitlab.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: m.network.dial, DialTLSContext: m.network.dialTLS}
	m.client = newClient(defaults(), base, credential{}, transport)
	m.settings = job.Settings{
		FreshFor: 20 * time.Second, StaleFor: 2 * time.Minute, RejectedFor: 10 * time.Second,
		MaxJobs: 10, MaxRejected: 10, Timeout: 10 * time.Second,
		Needs: func(*job.Job) job.Needs {
			if facts {
				return job.Needs{Facts: job.FactRef}
			}
			return job.Needs{}
		},
	}
	if facts {
		m.endpoint = gitlabtest.CurrentJob
	}
	m.registry, err = job.NewRegistry(job.Sources{JobTokens: m.client, Facts: m.client, Statuses: m.client}, m.settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { m.registry.Run(ctx) })
	t.Cleanup(func() {
		end()
		running.Wait()
		m.client.Close()
		m.gitlab.Close()
	})
	return m
}

// hit makes GitLab faulty from now on, for what the matrix asks.
func (m *matrix) hit(row faultRow) {
	m.gitlab.ResetCalls()
	row.fault.Endpoint = m.endpoint
	m.gitlab.Fault(row.fault)
	if row.noTLS {
		m.network.breakTLS()
		m.client.http.CloseIdleConnections()
	}
}

func (m *matrix) login(t *testing.T) {
	t.Helper()
	if got, _ := m.ask(); got != admitted {
		t.Fatalf("%s before the fault", got)
	}
}

// ask asks for the job and says what came of it, and when.
func (m *matrix) ask() (outcome, time.Duration) {
	start := time.Now()
	a, err := m.registry.Lookup(context.Background(), job.Credential{Kind: job.JobToken, Token: matrixToken})
	took := time.Since(start)
	var rejection *job.RejectedError
	switch {
	case errors.As(err, &rejection):
		return rejected, took
	case isTrouble(err):
		return unavailable, took
	case err != nil:
		return outcome(fmt.Sprintf("error %v", err)), took
	case a.Stale:
		return stale, took
	case m.facts && a.Job.Ref.Name == "main":
		return learned, took
	case m.facts && a.Job.Ref.Name == "" && a.Job.Ref.Why == "":
		return unknown, took
	}
	return admitted, took
}

func isTrouble(err error) bool {
	var e *job.UnavailableError
	return errors.As(err, &e)
}

// memoryNetwork joins a server and its clients by pipes, so that synctest can tell when both wait.
type memoryNetwork struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
	plain       chan struct{} // closed: TLS is asked for, which the server does not speak
}

func newMemoryNetwork() *memoryNetwork {
	return &memoryNetwork{connections: make(chan net.Conn), closed: make(chan struct{}), plain: make(chan struct{})}
}

func (n *memoryNetwork) Accept() (net.Conn, error) {
	select {
	case c := <-n.connections:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *memoryNetwork) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *memoryNetwork) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// dial is a connection's other end. After breakTLS the client expects TLS of a server that does not speak it.
func (n *memoryNetwork) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.connections <- server:
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-n.plain:
		c := tls.Client(client, &tls.Config{ServerName: "gitlab.invalid"})
		return c, c.HandshakeContext(ctx)
	default:
		return client, nil
	}
}

func (n *memoryNetwork) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	return n.dial(ctx, network, address)
}

func (n *memoryNetwork) breakTLS() { close(n.plain) }
