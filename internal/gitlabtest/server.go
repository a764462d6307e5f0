package gitlabtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Options are how a Server is started. The zero value serves an empty Instance as plain HTTP on a free loopback port.
type Options struct {
	// TLS serves HTTPS with a certificate of a CA that is made at the start (Server.CACertPEM).
	TLS bool
	// Listener is where it is served instead, for a network of the test's own.
	Listener net.Listener
	// RelativeURLRoot is a path such as /gitlab that everything lies under; empty for none.
	RelativeURLRoot string
	// Instance is the state to begin with.
	Instance Instance
	// SigningKeyBits is the size of the key that signs ID tokens, 2048 when it is 0.
	SigningKeyBits int
	// Now is the clock that JWTs are made and tokens are judged by; time.Now when nil.
	Now func() time.Time
}

// Server is a running fake GitLab. Its methods may be called concurrently.
type Server struct {
	options Options
	url     string
	caPEM   []byte
	mint    *tokenMint
	keys    *keyring
	state   atomic.Pointer[state]
	update  sync.Mutex // serializes Update
	faults  faultQueue
	log     requestLog

	server    *http.Server
	serving   sync.WaitGroup // the accept loop
	lifetime  context.Context
	end       context.CancelFunc
	exchanges openCount
}

// loopback is where a fake listens, so that it is not open to the network.
const loopback = "127.0.0.1"

// New starts a fake for a test, which closes it when it ends.
func New(t testing.TB, w Instance) *Server {
	t.Helper()
	s, err := Start(Options{Instance: w})
	if err != nil {
		t.Fatalf("starting the fake GitLab: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a fake and returns when it is listening. It fails when the Instance holds what no GitLab could.
func Start(options Options) (*Server, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.SigningKeyBits == 0 {
		options.SigningKeyBits = defaultKeyBits
	}
	options.RelativeURLRoot = strings.TrimSuffix(options.RelativeURLRoot, "/")
	if options.RelativeURLRoot != "" && !strings.HasPrefix(options.RelativeURLRoot, "/") {
		return nil, fmt.Errorf("relative URL root %q does not begin with a slash", options.RelativeURLRoot)
	}
	s := &Server{
		options: options, mint: &tokenMint{issuer: loopback, now: options.Now},
		keys: newKeyring(options.SigningKeyBits),
	}
	first, err := newState(options.Instance.clone(), s.mint, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the instance: %w", err)
	}
	s.state.Store(first)
	s.lifetime, s.end = context.WithCancel(context.Background())
	if err := s.listen(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *Server) listen() error {
	listener := s.options.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", net.JoinHostPort(loopback, "0")); err != nil {
			return fmt.Errorf("listening: %w", err)
		}
	}
	scheme := "http"
	if s.options.TLS {
		certificate, caPEM, err := newCertificate()
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		s.caPEM, scheme = caPEM, "https"
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	s.url = scheme + "://" + listener.Addr().String() + s.options.RelativeURLRoot
	s.run(listener, s.routes())
	return nil
}

// run serves the handler until Close.
func (s *Server) run(listener net.Listener, handler http.Handler) {
	s.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // aborted handshakes and connections are the tests' doing
		BaseContext:       func(net.Listener) context.Context { return s.lifetime },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connectionKey{}, c)
		},
	}
	s.serving.Go(func() { _ = s.server.Serve(listener) }) // ends with ErrServerClosed
}

// URL is where the instance is: scheme, host, port and the relative root, without a slash at the end.
func (s *Server) URL() string { return s.url }

// CACertPEM is the CA of a server with TLS, or nil.
func (s *Server) CACertPEM() []byte { return bytes.Clone(s.caPEM) }

// Close ends every exchange, hanging ones included. It returns when nothing runs any more and may be called again.
func (s *Server) Close() {
	s.end()
	_ = s.server.Close()
	s.serving.Wait()
	s.exchanges.close()
}

// Update changes the Instance in one step: later requests see all of it or, when it returns an error, nothing. It fails
// when the outcome is what no GitLab could hold, such as a job of an unknown project.
func (s *Server) Update(change func(*Instance)) error {
	s.update.Lock()
	defer s.update.Unlock()
	current := s.state.Load()
	w := current.instance.clone()
	change(&w)
	next, err := newState(w.clone(), s.mint, current) // cloned again: the caller may have kept parts of what it put in
	if err != nil {
		return fmt.Errorf("updating the instance: %w", err)
	}
	s.state.Store(next)
	return nil
}

// Instance is a copy of the present state, with everything filled in.
func (s *Server) Instance() Instance { return s.state.Load().instance.clone() }

// Fault adds faults behind those that are there.
func (s *Server) Fault(f ...Fault) { s.faults.add(f...) }

// ClearFaults ends all faults. A call that a fault delays already is still delayed.
func (s *Server) ClearFaults() { s.faults.clear() }

// Calls is how many requests the endpoint has had, or all of them for AnyEndpoint.
func (s *Server) Calls(endpoint string) int { return s.log.count(endpoint) }

// Requests are the endpoint's requests, or all of them for AnyEndpoint, among the latest 10,000 of the server, oldest
// first. They hold the credentials as they were sent.
func (s *Server) Requests(endpoint string) []Request { return s.log.requests(endpoint) }

// ResetCalls forgets all requests and counts.
func (s *Server) ResetCalls() { s.log.reset() }

// exchange logs a request and answers it, with a fault or without.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, endpoint string, answer func() *response) {
	if !s.exchanges.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.exchanges.leave()
	s.log.add(endpoint, r)
	if fault, hit := s.faults.take(endpoint, r); hit {
		fault.respond(w, r, answer)
		return
	}
	answer().write(w)
}

// openCount counts the exchanges that are open. Once it is closed no more can begin.
type openCount struct {
	mu     sync.Mutex
	closed bool
	open   sync.WaitGroup
}

func (c *openCount) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.open.Add(1)
	return true
}

func (c *openCount) leave() { c.open.Done() }

// close returns when the last open exchange has ended.
func (c *openCount) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.open.Wait()
}
