package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	kjson "sigs.k8s.io/json"
)

const (
	// maxBody bounds what is read of an answer where its request sets no other bound.
	maxBody = 1 << 20
	// maxRefusal bounds what is read of an answer other than 200.
	maxRefusal = 64 << 10
	// maxMessage bounds what is kept of the reason in GitLab's refusal, maxMediaType what is shown of a media type.
	maxMessage   = 256
	maxMediaType = 64
	// maxRetryAfter bounds what a Retry-After may ask for, so that no intermediary can switch jobgate off for a day.
	maxRetryAfter = 10 * time.Minute
)

// request is one question to GitLab.
type request struct {
	// endpoint is the path below the base URL with placeholders for what varies, such as :id. As the endpoint's name in
	// metrics and errors it holds neither ids nor names.
	endpoint   string
	values     []string // of the placeholders, in order, unescaped and not empty
	query      url.Values
	credential credential
	anonymous  bool // the endpoint takes no credential
	header     http.Header
	queue      queueName
	maxBody    int64 // of a 200; 1 MiB when zero
	// missing are GitLab's messages when the asker may look and there is nothing.
	missing []string
	// optional says that some editions of GitLab do not have the endpoint: an unknown route is then a refusal.
	optional bool
}

// answer is a 200 with JSON.
type answer struct {
	body *body
	more bool // GitLab has a further page (X-Next-Page, lib/gitlab/pagination/offset_header_builder.rb)
}

// decode reads the whole body into the value.
func (a *answer) decode(what string, value any) error {
	raw, err := io.ReadAll(a.body)
	if err != nil {
		return err
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, value); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

// body is a bounded body that watches for the credential.
type body struct {
	secretReader
	left int64
	err  error // of the connection or of the bound
}

var errTooLarge = errors.New("body is too large")

func newBody(r io.Reader, limit int64, secret string) *body {
	return &body{secretReader: secretReader{r: r, secret: []byte(secret)}, left: limit}
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.secretReader.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		n, err = 0, errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// roundTrip sends the request once and sorts the answer. Its error is definite (isDefinite), or says why the answer is
// of no use; it never gives away the credential.
func roundTrip[T any](ctx context.Context, c *Client, r request, read func(*answer) (T, error)) (T, error) {
	value, err := exchange(ctx, c, r, read)
	return value, withhold(err, r.credential.secret)
}

func exchange[T any](ctx context.Context, c *Client, r request, read func(*answer) (T, error)) (T, error) {
	var none T
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { sent.Store(true) },
	})
	lost := func(err error) error {
		return &transportError{err: withoutURL(err), timedOut: sent.Load() && errors.Is(ctx.Err(), context.DeadlineExceeded)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(r), nil)
	if err != nil {
		return none, fmt.Errorf("make request: %w", withoutURL(err))
	}
	c.setHeader(req, r)
	resp, err := c.http.Do(req)
	if err != nil {
		return none, lost(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		refusal, err := io.ReadAll(newBody(resp.Body, maxRefusal, ""))
		if err != nil && !errors.Is(err, errTooLarge) {
			return none, lost(fmt.Errorf("read body: %w", err))
		}
		return none, r.classify(resp, refusal)
	}
	if mediaType, ok := isJSON(resp); !ok {
		got := shown(mediaType, r.credential.secret, maxMediaType)
		return none, &answerError{status: resp.StatusCode, why: fmt.Sprintf("media type is %q, want application/json", got)}
	}
	limit := r.maxBody
	if limit == 0 {
		limit = maxBody
	}
	b := newBody(resp.Body, limit, r.credential.secret)
	value, err := read(&answer{body: b, more: resp.Header.Get("X-Next-Page") != ""})
	switch {
	case b.err != nil && !errors.Is(b.err, errTooLarge):
		return none, lost(fmt.Errorf("read body: %w", b.err))
	case b.err != nil:
		return none, &answerError{status: resp.StatusCode, why: fmt.Sprintf("body is larger than %d bytes", limit)}
	case b.found:
		return none, &answerError{status: resp.StatusCode, cause: errWithheld}
	case err != nil:
		return none, &answerError{status: resp.StatusCode, why: "unusable body", cause: err}
	}
	return value, nil
}

func (c *Client) setHeader(req *http.Request, r request) {
	r.credential.set(req.Header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	for name, values := range r.header {
		req.Header[name] = values
	}
}

func isJSON(resp *http.Response) (mediaType string, ok bool) {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return mediaType, err == nil && mediaType == "application/json"
}

// classify tells GitLab's own refusal from everything else that an answer other than 200 may be.
func (r request) classify(resp *http.Response, body []byte) error {
	status := resp.StatusCode
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		message, ok := r.refusal(status, body)
		if _, isJSON := isJSON(resp); !ok || !isJSON {
			return &answerError{status: status, why: "not GitLab's own refusal (no JSON object whose message begins with the status)"}
		}
		for _, missing := range r.missing {
			if status == http.StatusNotFound && message == missing {
				return fmt.Errorf("GET %s: %w", r.endpoint, ErrNotFound)
			}
		}
		return &RefusedError{Status: status, Message: shown(message, r.credential.secret, maxMessage), Endpoint: r.endpoint}
	default:
		return &answerError{status: status, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	}
}

// retryAfter reads both forms of the header (RFC 9110, section 10.2.3); zero when there is none that can be read.
func retryAfter(value string) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = time.Until(date)
	}
	return min(max(wait, 0), maxRetryAfter)
}

// url is where the request goes. Nothing secret is ever part of it.
func (c *Client) url(r request) string {
	u := c.base.JoinPath(expand(r.endpoint, r.values))
	u.RawQuery = r.query.Encode()
	return u.String()
}

// withoutURL strips the *url.Error that net/http wraps around everything: the caller names the URL once.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
