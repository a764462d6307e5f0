package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields are those of opentelemetry/proto/trace/v1/trace.proto and its neighbours. They never change.
const (
	requestResourceSpans = 1
	resourceSpansOf      = 1
	resourceSpansScopes  = 2
	resourceAttributes   = 1
	scopeSpansScope      = 1
	scopeSpansSpans      = 2
	scopeName            = 1

	spanTraceID      = 1
	spanSpanID       = 2
	spanParentSpanID = 4
	spanName         = 5
	spanKind         = 6
	spanStart        = 7
	spanEnd          = 8
	spanAttributes   = 9
	spanStatus       = 15
	statusMessage    = 2
	statusCode       = 3

	attributeKey    = 1
	attributeValue  = 2
	valueString     = 1
	valueBool       = 2
	valueInt        = 3
	statusCodeOK    = 1
	statusCodeError = 2
)

// message is a protobuf message that grows.
type message []byte

func (m *message) bytes(field protowire.Number, value []byte) {
	*m = protowire.AppendBytes(protowire.AppendTag(*m, field, protowire.BytesType), value)
}

func (m *message) text(field protowire.Number, value string) {
	if value != "" {
		*m = protowire.AppendString(protowire.AppendTag(*m, field, protowire.BytesType), value)
	}
}

func (m *message) number(field protowire.Number, value uint64) {
	*m = protowire.AppendVarint(protowire.AppendTag(*m, field, protowire.VarintType), value)
}

func (m *message) time(field protowire.Number, value time.Time) {
	*m = protowire.AppendFixed64(protowire.AppendTag(*m, field, protowire.Fixed64Type), uint64(value.UnixNano()))
}

// encodeRequest makes an ExportTraceServiceRequest. All spans are of this process and of this package.
func encodeRequest(spans []sdktrace.ReadOnlySpan) []byte {
	if len(spans) == 0 {
		return nil
	}
	var resource, scopeInfo, scopeSpans, resourceSpans, request message
	for _, a := range spans[0].Resource().Attributes() {
		resource.bytes(resourceAttributes, encodeAttribute(a))
	}
	scopeInfo.text(scopeName, scope)
	scopeSpans.bytes(scopeSpansScope, scopeInfo)
	for _, s := range spans {
		scopeSpans.bytes(scopeSpansSpans, encodeSpan(s))
	}
	resourceSpans.bytes(resourceSpansOf, resource)
	resourceSpans.bytes(resourceSpansScopes, scopeSpans)
	request.bytes(requestResourceSpans, resourceSpans)
	return request
}

func encodeSpan(s sdktrace.ReadOnlySpan) []byte {
	var m message
	traceID, spanID := s.SpanContext().TraceID(), s.SpanContext().SpanID()
	m.bytes(spanTraceID, traceID[:])
	m.bytes(spanSpanID, spanID[:])
	if parent := s.Parent().SpanID(); parent.IsValid() {
		m.bytes(spanParentSpanID, parent[:])
	}
	m.text(spanName, s.Name())
	m.number(spanKind, uint64(s.SpanKind())) //nolint:gosec // one of five, with the same numbers
	m.time(spanStart, s.StartTime())
	m.time(spanEnd, s.EndTime())
	for _, a := range s.Attributes() {
		m.bytes(spanAttributes, encodeAttribute(a))
	}
	var status message
	status.text(statusMessage, s.Status().Description)
	switch s.Status().Code {
	case codes.Ok:
		status.number(statusCode, statusCodeOK)
	case codes.Error:
		status.number(statusCode, statusCodeError)
	case codes.Unset:
	}
	m.bytes(spanStatus, status)
	return m
}

// encodeAttribute makes a KeyValue of the kinds that jobgate uses; any other becomes a text.
func encodeAttribute(a attribute.KeyValue) []byte {
	var value, m message
	switch a.Value.Type() {
	case attribute.BOOL:
		value.number(valueBool, protowire.EncodeBool(a.Value.AsBool()))
	case attribute.INT64:
		value.number(valueInt, uint64(a.Value.AsInt64())) //nolint:gosec // as protobuf has it
	default:
		value.text(valueString, a.Value.Emit())
	}
	m.text(attributeKey, string(a.Key))
	m.bytes(attributeValue, value)
	return m
}
