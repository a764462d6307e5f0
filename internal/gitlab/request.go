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
	path     string // below the base URL; also the endpoint's name in metrics, so it holds no ids
	jobToken string
	urgency  Urgency
}

// roundTrip sends the request once and sorts the answer. Its error is a *RejectedError, or says why the answer is of no
// use.
func roundTrip[T any](ctx context.Context, c *Client, r request, read func([]byte) (T, error)) (T, error) {
	var none T
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.endpoint(r.path), nil)
	if err != nil {
		return none, fmt.Errorf("make request: %w", err)
	}
	// The header, never a query parameter or a Bearer token: queries end up in access logs, and GitLab's rate limiter
	// charges a Bearer job token to this server's address instead of to the job's user (request_authenticator.rb).
	req.Header.Set("JOB-TOKEN", r.jobToken)
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
	if err := classify(resp, body, r.jobToken); err != nil {
		return none, err
	}
	value, err := read(body)
	if err != nil {
		return none, &answerError{status: resp.StatusCode, why: "unusable body", cause: err}
	}
	return value, nil
}

// classify tells a 200 with JSON (nil) from GitLab's own refusal and from everything else that may stand in between.
func classify(resp *http.Response, body []byte, jobToken string) error {
	mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := err == nil && mediaType == "application/json"
	switch resp.StatusCode {
	case http.StatusOK:
		if !isJSON {
			return &answerError{status: resp.StatusCode, why: fmt.Sprintf("media type is %.64q, want application/json", mediaType)}
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		if message, ok := refusal(body, jobToken); ok && isJSON {
			return &RejectedError{Status: resp.StatusCode, Message: message}
		}
		return &answerError{status: resp.StatusCode, why: "not GitLab's own refusal (no JSON object with a message)"}
	default:
		return &answerError{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	}
}

// refusal reads the message of GitLab's error body (lib/api/helpers.rb). A message that repeats the token is withheld.
func refusal(body []byte, jobToken string) (string, bool) {
	var object struct {
		Message any `json:"message"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &object); err != nil || object.Message == nil {
		return "", false
	}
	message, ok := object.Message.(string)
	if !ok || strings.Contains(message, jobToken) {
		return "", true
	}
	if len(message) > maxMessage {
		message = message[:maxMessage]
	}
	return strings.ToValidUTF8(message, "?"), true
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

// endpoint is the full URL of a path. Nothing secret is ever part of it.
func (c *Client) endpoint(path string) string { return c.base.JoinPath(path).String() }

// withoutURL strips the *url.Error that net/http wraps around everything: the caller names the URL once.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
