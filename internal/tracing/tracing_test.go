package tracing_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/jobgate/jobgate/internal/tracing"
	"github.com/jobgate/jobgate/internal/tracingtest"
)

const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

// span is what a test looks at.
type span struct {
	name, parent, trace string // the parent's name, or id where it is the caller's
	kind                trace.Span_SpanKind
	status              trace.Status_StatusCode
	attributes          map[string]string
}

func spansOf(all []*trace.Span) (spans []span) {
	names := map[string]string{}
	for _, s := range all {
		names[hex.EncodeToString(s.GetSpanId())] = s.GetName()
	}
	for _, s := range all {
		one := span{
			name: s.GetName(), parent: hex.EncodeToString(s.GetParentSpanId()), trace: hex.EncodeToString(s.GetTraceId()),
			kind: s.GetKind(), status: s.GetStatus().GetCode(), attributes: map[string]string{},
		}
		if name, ok := names[one.parent]; ok {
			one.parent = name
		}
		for _, a := range s.GetAttributes() {
			one.attributes[a.GetKey()] = a.GetValue().GetStringValue()
			if number := a.GetValue().GetIntValue(); number != 0 {
				one.attributes[a.GetKey()] = strconv.FormatInt(number, 10)
			}
		}
		spans = append(spans, one)
	}
	slices.SortFunc(spans, func(a, b span) int { return strings.Compare(a.name, b.name) })
	return spans
}

// review plays a review with a lookup and a call in it.
func review(w http.ResponseWriter, r *http.Request) {
	tracing.Note(r.Context(), "undecided", "")
	ctx, lookup := tracing.Start(tracing.Carry(r.Context(), context.Background()), "lookup")
	_, call := tracing.StartCall(ctx, "/api/v4/job/allowed_agents")
	call.End("502", true)
	lookup.End("undecided", true)
	w.WriteHeader(http.StatusServiceUnavailable)
}

// A collector gets the review as a part of the caller's request, and in it the lookup and the call.
func TestHandler_RecordsAReview(t *testing.T) {
	collector := tracingtest.Start(t)
	p, err := tracing.New(collector.Configuration(t), "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/authenticate", nil)
	r.Header.Set("traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
	p.Handler(http.HandlerFunc(review)).ServeHTTP(httptest.NewRecorder(), r)
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []span{
		{
			name: "/api/v4/job/allowed_agents", parent: "lookup", trace: callersTrace, kind: trace.Span_SPAN_KIND_CLIENT,
			status: trace.Status_STATUS_CODE_ERROR, attributes: map[string]string{"jobgate.result": "502"},
		},
		{
			name: "authenticate", parent: callersSpan, trace: callersTrace, kind: trace.Span_SPAN_KIND_SERVER,
			status: trace.Status_STATUS_CODE_ERROR,
			attributes: map[string]string{
				"jobgate.result": "undecided", "http.response.status_code": "503",
			},
		},
		{
			name: "lookup", parent: "authenticate", trace: callersTrace, kind: trace.Span_SPAN_KIND_INTERNAL,
			status: trace.Status_STATUS_CODE_ERROR, attributes: map[string]string{"jobgate.result": "undecided"},
		},
	}
	if diff := cmp.Diff(want, spansOf(collector.Spans()), cmp.AllowUnexported(span{})); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, s := range collector.Spans() {
		if s.GetStartTimeUnixNano() == 0 || s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s lasts from %d to %d", s.GetName(), s.GetStartTimeUnixNano(), s.GetEndTimeUnixNano())
		}
	}
	for _, part := range []string{`"service.name"`, `"jobgate"`, `"service.version"`, `"v1.2.3"`} {
		if !strings.Contains(collector.Text(t), part) {
			t.Errorf("%s was not sent", part)
		}
	}
}

// What is recorded follows the caller, else the configured share; other paths are never recorded.
func TestHandler_RecordsWhatItShould(t *testing.T) {
	const caller = "00-" + callersTrace + "-" + callersSpan
	for _, row := range []struct {
		name, path, traceparent, rate string
		want                          int
	}{
		{name: "all", path: "/authorize", rate: "1000000", want: 3},
		{name: "none", path: "/authorize", rate: "0", want: 0},
		{name: "the caller records", path: "/authorize", rate: "0", traceparent: caller + "-01", want: 3},
		{name: "the caller does not record", path: "/authorize", rate: "1000000", traceparent: caller + "-00", want: 0},
		{name: "a caller that cannot be read", path: "/authorize", rate: "1000000", traceparent: "00-x-y-01", want: 3},
		{name: "another path", path: "/ci:4:token", rate: "1000000", want: 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			collector := tracingtest.Start(t)
			file := write(t, "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: "+collector.Endpoint+
				"\nsamplingRatePerMillion: "+row.rate+"\n")
			p, err := tracing.New(file, "v1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, row.path, nil)
			r.Header.Set("traceparent", row.traceparent)
			p.Handler(http.HandlerFunc(review)).ServeHTTP(httptest.NewRecorder(), r)
			if err := p.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(collector.Spans()); got != row.want {
				t.Errorf("%d spans, want %d", got, row.want)
			}
		})
	}
}

// A collector that refuses loses traces, and no review.
func TestHandler_CollectorThatRefuses(t *testing.T) {
	collector := tracingtest.Start(t)
	collector.Refuse(true)
	p, err := tracing.New(collector.Configuration(t), "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	p.Handler(http.HandlerFunc(review)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/authorize", nil))
	if err := p.Shutdown(t.Context()); err != nil || w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, %v", w.Code, err)
	}
}

// Where nothing is recorded, a part of a review costs no memory.
func TestStart_CostsNothingWhenOff(t *testing.T) {
	ctx := t.Context()
	if got := testing.AllocsPerRun(100, func() {
		ctx, lookup := tracing.Start(tracing.Carry(ctx, ctx), "lookup")
		_, call := tracing.StartCall(ctx, "call")
		tracing.Note(ctx, "denied", "ended")
		call.End("200", false)
		lookup.End("answered", false)
	}); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func TestNew_RefusesWhatItCannotUse(t *testing.T) {
	const head = "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\n"
	for _, row := range []struct{ name, text, want string }{
		{"another kind", "apiVersion: v1\nkind: Pod\n", "TracingConfiguration"},
		{"an unknown key", head + "samplingRate: 1\n", "samplingRate"},
		{"a key twice", head + "endpoint: a:1\nendpoint: b:1\n", "endpoint"},
		{"a URL", head + "endpoint: http://collector:4317\n", "host:port"},
		{"no port", head + "endpoint: collector\n", "host:port"},
		{"a rate above one", head + "samplingRatePerMillion: 1000001\n", "samplingRatePerMillion"},
		{"a rate below zero", head + "samplingRatePerMillion: -1\n", "samplingRatePerMillion"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := tracing.New(write(t, row.text), "v1.2.3"); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error is %v, want one about %s", err, row.want)
			}
		})
	}
	if _, err := tracing.New(filepath.Join(t.TempDir(), "none"), "v1.2.3"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func write(t *testing.T, text string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "tracing.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
