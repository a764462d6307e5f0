package gitlabtest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RateLimited is GitLab's own throttle (Rack::Attack, lib/gitlab/rack_attack.rb) on every endpoint, until cleared: 429
// as plain text, with the window's end in Retry-After (whole seconds, rounded up) and the RateLimit headers.
func RateLimited(retryAfter time.Duration) Fault {
	seconds := int64(math.Ceil(retryAfter.Seconds()))
	reset := time.Now().Add(time.Duration(seconds) * time.Second)
	f := RateLimitedAtEdge()
	f.Header = map[string]string{
		"RateLimit-Name":      "throttle_authenticated_api",
		"RateLimit-Limit":     "2000",
		"RateLimit-Observed":  "2001",
		"RateLimit-Remaining": "0",
		"RateLimit-Reset":     strconv.FormatInt(reset.Unix(), 10),
		"RateLimit-ResetTime": reset.UTC().Format(http.TimeFormat),
		"Retry-After":         strconv.FormatInt(seconds, 10),
	}
	return f
}

// RateLimitedAtEdge is the 429 without any headers that GitLab.com's edge sometimes gives (gitlab#365728), on every
// endpoint, until cleared.
func RateLimitedAtEdge() Fault {
	return Fault{
		Endpoint: AnyEndpoint, Status: http.StatusTooManyRequests, ContentType: "text/plain", Body: "Retry later\n",
	}
}

// BadGateway is the HTML page of a proxy whose GitLab is down, on every endpoint, until cleared.
func BadGateway() Fault { return pageFault(http.StatusBadGateway) }

// Unavailable is the HTML deploy page, on every endpoint, until cleared.
func Unavailable() Fault { return pageFault(http.StatusServiceUnavailable) }

func pageFault(status int) Fault {
	return Fault{Endpoint: AnyEndpoint, Status: status, Body: string(htmlPage(status).body)}
}

const htmlType = "text/html; charset=utf-8"

func htmlPage(status int) *response {
	return &response{
		status: status,
		header: http.Header{"Content-Type": {htmlType}},
		body: fmt.Appendf(nil, "<!DOCTYPE html>\n<html><head><title>%[2]s (%[1]d)</title></head>\n"+
			"<body><h1>%[1]d</h1><h3>GitLab: %[2]s</h3></body></html>\n", status, http.StatusText(status)),
	}
}

// faultQueue hands each call the fault that hits it, if any.
type faultQueue struct {
	mu     sync.Mutex
	faults []Fault
}

func (q *faultQueue) add(faults ...Fault) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, f := range faults {
		f.Header = maps.Clone(f.Header)
		q.faults = append(q.faults, f)
	}
}

func (q *faultQueue) clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults = nil
}

func (q *faultQueue) take(endpoint string, r *http.Request) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.faults, func(f Fault) bool { return f.concerns(endpoint, r) })
	if i < 0 {
		return Fault{}, false
	}
	f := &q.faults[i]
	if f.Skip > 0 {
		f.Skip--
		return Fault{}, false
	}
	hit := *f
	if f.Calls--; f.Calls == 0 { // one that began at 0 stays below
		q.faults = slices.Delete(q.faults, i, i+1)
	}
	return hit, true
}

func (f *Fault) concerns(endpoint string, r *http.Request) bool {
	if f.Endpoint != endpoint && f.Endpoint != AnyEndpoint {
		return false
	}
	return f.JobTokens == "" || strings.HasPrefix(readCredentials(r).jobToken, f.JobTokens)
}

// respond answers a call that the fault hits. answer makes the real answer.
func (f *Fault) respond(w http.ResponseWriter, r *http.Request, answer func() *response) {
	if f.Delay > 0 {
		wait(r.Context(), f.Delay)
	}
	switch {
	case f.Hang:
		<-r.Context().Done() // the client gave up or the server closes
		panic(http.ErrAbortHandler)
	case f.Reset:
		resetConnection(r.Context())
		panic(http.ErrAbortHandler)
	}
	out := f.spoil(r, answer)
	if !f.Truncate {
		out.write(w)
		return
	}
	out.writeHead(w)
	_, _ = w.Write(out.body[:len(out.body)/2]) // the client may be gone
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler) // ends the connection, or the HTTP/2 stream, short of the announced length
}

// wait returns after the time, or ends the call at once when the client has given up.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// maxOversize bounds Fault.Oversize.
const maxOversize = 64 << 20

// spoil is the fault's own answer or the real one with the fault's changes.
func (f *Fault) spoil(r *http.Request, answer func() *response) *response {
	var out *response
	switch {
	case f.Redirect != "":
		out = htmlPage(http.StatusFound)
		out.header.Set("Location", f.Redirect)
	case f.Status != 0:
		out = &response{status: f.Status, header: http.Header{"Content-Type": {htmlType}}}
		if f.EchoToken {
			out = echo(f.Status, r)
		}
	default:
		out = answer()
	}
	if f.Body != "" {
		out.body = []byte(f.Body)
	}
	if f.ContentType != "" {
		out.header.Set("Content-Type", f.ContentType)
	}
	for name, value := range f.Header {
		out.header.Set(name, value)
	}
	if missing := min(f.Oversize, maxOversize) - len(out.body); missing > 0 {
		out.body = append(out.body, bytes.Repeat([]byte(" "), missing)...)
	}
	return out
}

// echo repeats the credential, as a careless proxy's debugging page does.
func echo(status int, r *http.Request) *response {
	c := readCredentials(r)
	credential := firstPresent(c.jobToken, c.bearer, c.privateToken)
	return jsonResponse(status, map[string]string{
		"message": fmt.Sprintf("%d %s: %s", status, http.StatusText(status), credential),
	})
}

func (out *response) writeHead(w http.ResponseWriter) {
	header := w.Header()
	for name, values := range out.header {
		header[name] = values
	}
	header.Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
}

func (out *response) write(w http.ResponseWriter) {
	out.writeHead(w)
	_, _ = w.Write(out.body) // the client may be gone
}

// connectionKey is where a request's context has its connection.
type connectionKey struct{}

// resetConnection ends the TCP connection with RST: closing with no lingering discards what is unsent.
func resetConnection(ctx context.Context) {
	conn, _ := ctx.Value(connectionKey{}).(net.Conn)
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	if conn != nil {
		_ = conn.Close()
	}
}
