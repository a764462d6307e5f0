package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/klog/v2"
)

// How long a connection may take for what. A review waits for GitLab inside answerTimeout.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	answerTimeout = 45 * time.Second
	idleTimeout   = 3 * time.Minute
	maxHeader     = 32 << 10
	// maxStreams is how many reviews one HTTP/2 connection carries; a night's jobs may all come over one.
	maxStreams = 1000
	// drainTimeout outlasts the longest review.
	drainTimeout = answerTimeout
)

// Options say where and what to serve.
type Options struct {
	Address       string       // of the reviews, TLS
	HealthAddress string       // of health and metrics, plain HTTP
	ReusePort     bool         // share Address with another process of the same user that does so, too; Linux only
	TLS           *tls.Config  // must offer h2
	Trust         Trust        // of clients whose connections are open; nil: they stay open
	Handler       http.Handler // from NewHandler
	Metrics       prometheus.Gatherer
	Profiling     bool // serve profiles of the process beside the metrics
	// DrainDelay is how long reviews are still accepted after readyz has begun to fail, for load balancers to notice.
	DrainDelay time.Duration
}

// Server serves reviews, health and metrics.
type Server struct {
	reviews, health *http.Server
	reviewListener  *listener
	healthListener  net.Listener
	arriving        arriving
	drainDelay      time.Duration
	ready           atomic.Bool
}

// NewServer listens on both addresses; Run serves. The error names the address that cannot be had.
func NewServer(o Options) (*Server, error) {
	s := &Server{drainDelay: o.DrainDelay}
	var err error
	if s.healthListener, err = net.Listen("tcp", o.HealthAddress); err != nil {
		return nil, listenError("health checks", o.HealthAddress, "serving.healthAddress", err)
	}
	// Last, because from here on the kernel sends connections here, which wait for Run.
	if s.reviewListener, err = listen(o.Address, o.ReusePort); err != nil {
		s.healthListener.Close()
		err = listenError("reviews", o.Address, "serving.address", err)
		if o.ReusePort && errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; it can be shared only with a process of the same user that has serving.reusePort, too", err)
		}
		return nil, err
	}
	s.reviews = newHTTPServer(o.Handler)
	s.reviews.TLSConfig = o.TLS
	s.reviews.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams}
	open := &connections{trust: o.Trust}
	s.reviews.ConnState = func(connection net.Conn, state http.ConnState) {
		s.arriving.note(connection, state)
		if o.Trust != nil {
			open.note(connection, state)
		}
	}
	if o.Trust != nil {
		o.Trust.OnTrustChange(open.checkAll)
	}
	s.health = newHTTPServer(s.healthHandler(o.Metrics, o.Profiling))
	return s, nil
}

// listenError says by whom an address can be in use, and what to do about it.
func listenError(what, address, key string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen for %s on %s: %w: by another jobgate, which may be about to end, or by another program; "+
			"\"ss -ltnp\" shows it; stop it, or change %s", what, address, err, key)
	}
	return fmt.Errorf("listen for %s on %s: %w", what, address, err)
}

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(connectionLog{}, "", 0),
	}
}

// Address is where reviews are served.
func (s *Server) Address() net.Addr { return s.reviewListener.Addr() }

// HealthAddress is where health and metrics are served.
func (s *Server) HealthAddress() net.Addr { return s.healthListener.Addr() }

// Run serves until the context ends, and then drains: readyz fails first, then no connection is accepted, then clients are
// told to connect again and reviews in flight finish, and health goes last. It returns nil after a complete drain.
func (s *Server) Run(ctx context.Context) error {
	failed, accepted := make(chan error, 2), make(chan struct{})
	go func() { failed <- s.health.Serve(s.healthListener) }()
	go func() {
		failed <- s.reviews.ServeTLS(s.reviewListener, "", "")
		close(accepted)
	}()
	s.ready.Store(true)
	klog.FromContext(ctx).Info("Serving", "reviews", s.Address().String(), "health", s.HealthAddress().String())

	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	return errors.Join(err, s.drain(context.WithoutCancel(ctx), accepted))
}

func (s *Server) drain(ctx context.Context, accepted <-chan struct{}) error {
	s.ready.Store(false)
	klog.FromContext(ctx).Info("Draining", "delay", s.drainDelay)
	time.Sleep(s.drainDelay)
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	s.reviewListener.retire()
	<-accepted
	// Shutdown sends a GOAWAY on the HTTP/2 connections that it knows. One whose handshake is not over would stay open.
	s.arriving.wait(headerTimeout)
	err := s.reviews.Shutdown(ctx)
	return errors.Join(err, s.health.Shutdown(ctx))
}

// healthHandler serves liveness (the process answers), readiness (it listens and is not draining; GitLab's state is a
// metric, since an outage there must not take every replica away) and the metrics.
func (s *Server) healthHandler(metrics prometheus.Gatherer, profiling bool) http.Handler {
	router := chi.NewRouter()
	router.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { writeText(w, http.StatusOK, "ok") })
	router.Get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.ready.Load() {
			writeText(w, http.StatusServiceUnavailable, "not ready: starting or draining")
			return
		}
		writeText(w, http.StatusOK, "ok")
	})
	router.Method(http.MethodGet, "/metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	if profiling {
		router.Mount(profilesPath, profiles())
	}
	return router
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n"))
}

// connectionLog takes net/http's own complaints, which any port scan causes, to a level that is off by default.
type connectionLog struct{}

func (connectionLog) Write(line []byte) (int, error) {
	klog.V(2).InfoS("Connection failed", "err", string(line))
	return len(line), nil
}
