package tracing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/file"
)

const (
	maxFileBytes    = 64 << 10
	defaultEndpoint = "localhost:4317"
	million         = 1_000_000
)

// configuration is kube-apiserver's file for --tracing-config-file.
type configuration struct {
	APIVersion             string `json:"apiVersion"`
	Kind                   string `json:"kind"`
	Endpoint               string `json:"endpoint"`
	SamplingRatePerMillion int32  `json:"samplingRatePerMillion"`
}

// The errors of a file that cannot be used.
var (
	errKind     = errors.New("apiVersion must be apiserver.config.k8s.io/v1 (or v1beta1, v1alpha1), and kind TracingConfiguration")
	errEndpoint = errors.New("endpoint must be host:port, of a collector that takes OTLP over gRPC without TLS")
	errRate     = errors.New("samplingRatePerMillion must be from 0 to 1000000")
)

func read(name string) (configuration, error) {
	c := configuration{Endpoint: defaultEndpoint}
	text, err := file.Read(name, maxFileBytes)
	if err != nil {
		return c, fmt.Errorf("read the tracing configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return c, fmt.Errorf("tracing configuration %s: %w", name, err)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("tracing configuration %s: %w", name, err)
	}
	return c, nil
}

func (c configuration) validate() error {
	known := map[string]bool{"apiserver.config.k8s.io/v1": true, "apiserver.config.k8s.io/v1beta1": true, "apiserver.config.k8s.io/v1alpha1": true}
	if !known[c.APIVersion] || c.Kind != "TracingConfiguration" {
		return errKind
	}
	if _, port, err := net.SplitHostPort(c.Endpoint); err != nil || port == "" {
		return errEndpoint
	}
	if c.SamplingRatePerMillion < 0 || c.SamplingRatePerMillion > million {
		return errRate
	}
	return nil
}

// Provider records reviews and sends them to a collector.
type Provider struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New reads a file in the format of kube-apiserver's. The version is jobgate's.
func New(name, version string) (*Provider, error) {
	c, err := read(name)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(float64(c.SamplingRatePerMillion)/million))),
		sdktrace.WithBatcher(newExporter(c.Endpoint)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "jobgate"), attribute.String("service.version", version))),
	)
	return &Provider{provider: provider, tracer: provider.Tracer(scope)}, nil
}

// Shutdown sends what is left.
func (p *Provider) Shutdown(ctx context.Context) error { return p.provider.Shutdown(ctx) }

// Handler records the reviews of the next one. A caller that records its own request says so in the header traceparent
// (W3C Trace Context), and a review belongs to that then.
func (p *Provider) Handler(next http.Handler) http.Handler {
	// Other paths are no reviews, and could be anything.
	names := map[string]string{"/authenticate": "authenticate", "/authorize": "authorize"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := names[r.URL.Path]
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := p.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		if !span.IsRecording() {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		recorder := &statusRecorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(recorder, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", recorder.code))
		if recorder.code >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}

type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (s *statusRecorder) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.MaxBytesReader reach the connection.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
