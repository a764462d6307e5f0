// Package tracingtest is a collector of OpenTelemetry traces for tests: a real gRPC server with the collector's own messages.
package tracingtest

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// Collector keeps what it is sent.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	Endpoint string

	mu       sync.Mutex
	requests []*collector.ExportTraceServiceRequest
	refuses  bool
}

// Start serves until the test ends.
func Start(t testing.TB) *Collector {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Endpoint: listener.Addr().String()}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// Configuration writes a file for --tracing-config-file that sends every review here.
func (c *Collector) Configuration(t testing.TB) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "tracing.yaml")
	text := "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: TracingConfiguration\nendpoint: " + c.Endpoint +
		"\nsamplingRatePerMillion: 1000000\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Refuse makes the collector refuse what it is sent from now on, or take it again.
func (c *Collector) Refuse(refuse bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuses = refuse
}

// Export is what an exporter calls.
func (c *Collector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses {
		return nil, status.Error(codes.Unavailable, "refused")
	}
	c.requests = append(c.requests, r)
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans are those of all requests so far.
func (c *Collector) Spans() (all []*trace.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		for _, ofResource := range r.GetResourceSpans() {
			for _, ofScope := range ofResource.GetScopeSpans() {
				all = append(all, ofScope.GetSpans()...)
			}
		}
	}
	return all
}

// Text is everything that was sent, for a search.
func (c *Collector) Text(t testing.TB) (text string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		one, err := protojson.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		text += string(one) + "\n"
	}
	return text
}
