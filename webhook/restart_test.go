//go:build linux

package webhook_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/webhook"
)

// instance is one of two servers with the same address.
type instance struct {
	server *webhook.Server
	stop   context.CancelFunc
	ended  chan error
}

// pair are two servers that share an address.
type pair struct {
	t         *testing.T
	options   webhook.Options
	instances [2]*instance
}

// newPair starts both. They end with the test.
func newPair(t *testing.T, p *pki, h http.Handler) *pair {
	t.Helper()
	both := &pair{t: t, options: webhook.Options{
		Address: freeAddress(t), HealthAddress: "127.0.0.1:0", ReusePort: true,
		TLS: p.serve(t, nil), Handler: h, Metrics: prometheus.NewRegistry(),
	}}
	for i := range both.instances {
		both.instances[i] = both.start()
	}
	t.Cleanup(func() {
		for _, i := range both.instances {
			both.end(i)
		}
	})
	return both
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	return l.Addr().String()
}

// start starts a server and waits until it serves.
func (p *pair) start() *instance {
	p.t.Helper()
	o := p.options
	o.TLS = o.TLS.Clone() // which the server completes
	i := &instance{server: must[*webhook.Server](p.t)(webhook.NewServer(o)), ended: make(chan error, 1)}
	ctx, stop := context.WithCancel(context.Background())
	i.stop = stop
	go func() { i.ended <- i.server.Run(ctx) }()
	eventually.True(p.t, "the instance is ready", func() bool {
		code, _ := get(p.t, "http://"+i.server.HealthAddress().String()+"/readyz")
		return code == 200
	})
	return i
}

// end stops a server and waits until it has ended.
func (p *pair) end(i *instance) {
	p.t.Helper()
	i.stop()
	if err := <-i.ended; err != nil {
		p.t.Errorf("an instance ended with %v", err)
	}
}

// restart ends one of the servers and starts another one in its place, a number of times, in turns. In between it waits until the
// callers have sent more.
func (p *pair) restart(times int, load *callers) {
	p.t.Helper()
	for n := range times {
		goal := load.sent.Load() + betweenRestarts
		eventually.True(p.t, "more requests are sent", func() bool { return load.sent.Load() >= goal })
		p.end(p.instances[n%2])
		p.instances[n%2] = p.start()
	}
}

// callers send reviews without a pause, each one after the other.
type callers struct {
	sent     atomic.Int64
	running  sync.WaitGroup
	over     chan struct{}
	mu       sync.Mutex
	failures []error
}

func startCallers(number int, send func(token string) error) *callers {
	c := &callers{over: make(chan struct{})}
	for caller := range number {
		c.running.Go(func() {
			for request := 0; !c.ended(); request++ {
				err := send(fmt.Sprintf("%d-%d", caller, request))
				c.sent.Add(1)
				if err == nil {
					continue
				}
				c.mu.Lock()
				c.failures = append(c.failures, err)
				c.mu.Unlock()
			}
		})
	}
	return c
}

func (c *callers) ended() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// noneFailed ends the callers.
func (c *callers) noneFailed(t *testing.T) {
	t.Helper()
	close(c.over)
	c.running.Wait()
	t.Logf("%d requests, %d failed", c.sent.Load(), len(c.failures))
	for _, err := range c.failures {
		t.Error(err)
	}
}

// betweenRestarts are requests.
const betweenRestarts = 20

// The API server's one HTTP/2 connection: requests on their way when an instance leaves are answered, and the next ones reach the
// other instance.
func TestServer_RestartsUnderLoad(t *testing.T) {
	p := newPKI(t)
	both := newPair(t, p, webhook.NewHandler(echo, noOpinion, nil))
	client := p.client(t, p.apiserver)
	defer client.CloseIdleConnections()
	load := startCallers(8, func(token string) error { return login(client, both.options.Address, token) })
	both.restart(20, load)
	load.noneFailed(t)
}

// Connections that begin while an instance leaves, some of which wait in its queue: none is refused or reset.
func TestServer_ConnectionsDuringRestarts(t *testing.T) {
	p := newPKI(t)
	both := newPair(t, p, webhook.NewHandler(echo, noOpinion, nil))
	load := startCallers(8, func(token string) error {
		client := p.client(t, p.apiserver)
		defer client.CloseIdleConnections()
		return login(client, both.options.Address, token)
	})
	both.restart(6, load)
	load.noneFailed(t)
}

// An instance that cannot start takes no connection away from those that run.
func TestServer_ConnectionsDuringFailedStarts(t *testing.T) {
	p := newPKI(t)
	both := newPair(t, p, webhook.NewHandler(echo, noOpinion, nil))
	load := startCallers(4, func(token string) error {
		client := p.client(t, p.apiserver)
		defer client.CloseIdleConnections()
		return login(client, both.options.Address, token)
	})
	broken := both.options
	broken.HealthAddress = both.instances[0].server.HealthAddress().String()
	for goal := int64(100); load.sent.Load() < goal; {
		if _, err := webhook.NewServer(broken); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("an instance with a health address that is in use: %v", err)
		}
	}
	load.noneFailed(t)
}

// echo says who a token is without asking anyone.
var echo = tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: someUser}, true, nil
})

func login(client *http.Client, address, token string) error {
	response, err := client.Post("https://"+address+"/authenticate", "application/json", strings.NewReader(review("v1", token)))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.ProtoMajor != 2 || !strings.Contains(string(body), `"authenticated":true`)) {
		err = errors.New(response.Proto + " " + strconv.Itoa(response.StatusCode) + ": " + string(body))
	}
	return err
}
