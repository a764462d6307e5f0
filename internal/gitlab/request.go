package gitlab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	kjson "sigs.k8s.io/json"
)

const (
	// maxBody bounds what is read of any answer. The largest honest one, 500 agents with long configurations, is far
	// below it.
	maxBody = 1 << 20
	// maxMessage bounds what is kept of the reason in GitLab's refusal.
	maxMessage = 256
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
	credential Credential
	urgency    Urgency
	// missing is GitLab's message when the asker may look and there is nothing; empty where it has none.
	missing string
	// judgesToken says that a refusal is about the credential itself: a *RejectedError instead of a *RefusedError.
	judgesToken bool
}

// answer is a 200 with JSON.
type answer struct {
	body []byte
	more bool // GitLab has a further page (X-Next-Page, lib/gitlab/pagination/offset_header_builder.rb)
}

// roundTrip sends the request once and sorts the answer. Its error is definite (isDefinite), or says why the answer is
// of no use.
func roundTrip[T any](ctx context.Context, c *Client, r request, read func(answer) (T, error)) (T, error) {
	var none T
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(r), nil)
	if err != nil {
		return none, fmt.Errorf("make request: %w", withoutURL(err))
	}
	r.credential.set(req.Header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)

	resp, err := c.http.Do(req)
	if err != nil {
		return none, &transportError{withoutURL(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return none, &transportError{fmt.Errorf("read body: %w", err)}
	}
	if len(body) > maxBody {
		return none, &answerError{status: resp.StatusCode, why: fmt.Sprintf("body is larger than %d bytes", maxBody)}
	}
	if err := r.classify(resp, body); err != nil {
		return none, err
	}
	value, err := read(answer{body: body, more: resp.Header.Get("X-Next-Page") != ""})
	if err != nil {
		return none, &answerError{status: resp.StatusCode, why: "unusable body", cause: err}
	}
	return value, nil
}

// classify tells a 200 with JSON (nil) from GitLab's own refusal and from everything else that may stand in between.
func (r request) classify(resp *http.Response, body []byte) error {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := err == nil && mediaType == "application/json"
	switch resp.StatusCode {
	case http.StatusOK:
		if !isJSON {
			return &answerError{status: resp.StatusCode, why: fmt.Sprintf("media type is %.64q, want application/json", mediaType)}
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		if message, ok := r.refusal(resp.StatusCode, body); ok && isJSON {
			return r.refused(resp.StatusCode, message)
		}
		return &answerError{status: resp.StatusCode, why: "not GitLab's own refusal (no JSON object with a message)"}
	default:
		return &answerError{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	}
}

// refusal reads the message of GitLab's error body (lib/api/helpers.rb). A message that repeats the token is withheld.
//
// An access token of too small a scope, expired or revoked has a body of its own (lib/api/api_guard.rb, as in RFC 6750,
// section 3.1), which a job token never gets. A 404 with an error instead of a message is an unknown route.
func (r request) refusal(status int, body []byte) (string, bool) {
	var object struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &object); err != nil {
		return "", false
	}
	if object.Message == nil && r.credential.header == accessTokenHeader && status != http.StatusNotFound {
		object.Message = object.Error
	}
	if object.Message == nil {
		return "", false
	}
	message, ok := object.Message.(string)
	if !ok || strings.Contains(message, r.credential.secret) {
		return "", true
	}
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	return strings.ToValidUTF8(message, "?"), true
}

// refused makes an error of what GitLab's own refusal means here.
func (r request) refused(status int, message string) error {
	switch {
	case r.judgesToken:
		return &RejectedError{Status: status, Message: message}
	case status == http.StatusNotFound && r.missing != "" && message == r.missing:
		return fmt.Errorf("GET %s: %w", r.endpoint, ErrNotFound)
	default:
		return &RefusedError{Status: status, Message: message, Endpoint: r.endpoint}
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
