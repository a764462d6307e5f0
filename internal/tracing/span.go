// Package tracing says where a review's time goes, as OpenTelemetry spans: the review, the lookup of its job, and each request
// to GitLab. It is off unless a file asks for it, and then costs nothing: without a recorded span in the context nothing is
// started.
//
// A span holds names of endpoints, results and reasons. It must not hold tokens, nor texts that could quote one, such as errors.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// scope names jobgate's spans among others.
const scope = "github.com/jobgate/jobgate"

// Span is a part of a review. The zero value records nothing.
type Span struct{ span trace.Span }

// Start begins a part of what the context's span is about, if that is recorded.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// StartCall is Start for a request to another server.
func StartCall(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindClient)
}

func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, span := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{span}
}

// End ends it. The result is a word, such as an HTTP status; a failure is one that a person should see.
func (s Span) End(result string, failed bool) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.String("jobgate.result", result))
	if failed {
		s.span.SetStatus(codes.Error, result)
	}
	s.span.End()
}

// Note adds a review's result, and the reason for it, to the context's span.
func Note(ctx context.Context, result, reason string) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String("jobgate.result", result))
	if reason != "" {
		span.SetAttributes(attribute.String("jobgate.reason", reason))
	}
}

// Carry puts the span of one context into another, which outlives it.
func Carry(from, to context.Context) context.Context {
	if span := trace.SpanFromContext(from); span.IsRecording() {
		return trace.ContextWithSpan(to, span)
	}
	return to
}
