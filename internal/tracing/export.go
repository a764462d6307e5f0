package tracing

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"k8s.io/klog/v2"
)

const (
	exportPath    = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	exportTimeout = 10 * time.Second
	maxReply      = 64 << 10
	// grpcPrefix is before each message: a byte for compression, four for the length.
	grpcPrefix = 5
)

// exporter sends spans to a collector: OTLP over gRPC, which is one POST over HTTP/2 and a status in the trailer
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md). The library for it would make the program a third
// larger, and its memory at rest, too, for those as well who never trace.
type exporter struct {
	url    string
	client *http.Client
	failed atomic.Bool // the last attempt, so that an outage is logged once
}

var _ sdktrace.SpanExporter = (*exporter)(nil)

func newExporter(endpoint string) *exporter {
	transport := &http.Transport{Protocols: new(http.Protocols)} // without a proxy: a collector is near
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &exporter{url: "http://" + endpoint + exportPath, client: &http.Client{Transport: transport, Timeout: exportTimeout}}
}

// ExportSpans sends spans once. What a collector does not take is lost, and the log says so.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.send(ctx, encodeRequest(spans))
	if failed := err != nil; e.failed.Swap(failed) != failed {
		if failed {
			klog.FromContext(ctx).Error(err, "Traces cannot be sent; they are dropped until the collector takes them")
		} else {
			klog.FromContext(ctx).Info("Traces are sent again")
		}
	}
	return nil
}

// Shutdown ends connections.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *exporter) send(ctx context.Context, message []byte) error {
	body := make([]byte, grpcPrefix, grpcPrefix+len(message))
	binary.BigEndian.PutUint32(body[1:], uint32(len(message))) //nolint:gosec // a batch of 512 spans is far below
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(append(body, message...)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// The trailer comes after the body.
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxReply)); err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	status := response.Trailer.Get("Grpc-Status")
	if status == "" { // an answer without a message has it in front
		status = response.Header.Get("Grpc-Status")
	}
	if response.StatusCode != http.StatusOK || status != "0" {
		return fmt.Errorf("the collector answers HTTP status %d, gRPC status %.8q", response.StatusCode, status)
	}
	return nil
}
