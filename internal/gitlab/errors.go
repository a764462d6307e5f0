package gitlab

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// ErrIncompleteReply is in the chain of the error for a reply that lacks something every identity is made of, or holds
// something no identity may be made of.
var ErrIncompleteReply = errors.New("incomplete reply")

// RequestError is in the chain of a *job.UnavailableError: the question that GitLab gave no usable answer to.
type RequestError struct {
	URL      string // the endpoint that was asked, with placeholders for ids and names
	Attempts int    // how often, including attempts the limits or the breaker held back
	Status   int    // of the last attempt's answer; 0 where there was none
	Err      error  // what the last attempt met
}

func (e *RequestError) Error() string {
	attempts := "1 attempt"
	if e.Attempts != 1 {
		attempts = fmt.Sprintf("%d attempts", e.Attempts)
	}
	return fmt.Sprintf("ask GitLab: GET %s: %v (%s)", e.URL, e.Err, attempts)
}

func (e *RequestError) Unwrap() error { return e.Err }

// RefusedError is GitLab's own, definite answer that the credential may not have what was asked. It is in the chain of a
// *job.UnlearnableError.
type RefusedError struct {
	Status   int    // 401, 403 or 404: GitLab also hides what may not be seen behind a 404
	Message  string // GitLab's words, at most 256 bytes; free text of another system, so quote it
	Endpoint string // what was asked, with placeholders for ids and names
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("GitLab refused GET %s: %d %s (message %q)", e.Endpoint, e.Status, http.StatusText(e.Status), e.Message)
}

// ErrNotFound is in the chain of the error when the credential may look and there is nothing: a branch or a tag that has
// been deleted, a slug that no environment has. Where a list is looked through, it can also be longer than the search.
var ErrNotFound = errors.New("not found")

// isDefinite tells an answer that would be the same a moment later. Every one is GitLab's own.
func isDefinite(err error) bool {
	return isRefused(err) || errors.Is(err, ErrNotFound)
}

func isRefused(err error) bool { return refusedError(err) != nil }

// refusedError is the refusal in the chain, or nil.
func refusedError(err error) *RefusedError {
	var refused *RefusedError
	errors.As(err, &refused)
	return refused
}

// answerError is an answer that is neither a 200 with the expected JSON nor GitLab's own refusal.
type answerError struct {
	status     int
	why        string
	cause      error
	retryAfter time.Duration
}

func (e *answerError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "answered %d %s", e.status, http.StatusText(e.status))
	if e.why != "" {
		b.WriteString(": " + e.why)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	if e.retryAfter > 0 {
		fmt.Fprintf(&b, ", asking to wait %s", e.retryAfter)
	}
	return b.String()
}

// Unwrap hands the wait that GitLab asked for to the retry loop.
func (e *answerError) Unwrap() []error {
	var errs []error
	if e.cause != nil {
		errs = append(errs, e.cause)
	}
	if e.retryAfter > 0 {
		errs = append(errs, &backoff.RetryAfterError{Duration: e.retryAfter})
	}
	return errs
}

// transportError is a request that got no answer: refused, reset, timed out, not trusted.
type transportError struct {
	err      error
	timedOut bool // the question had been sent, and the attempt's time was up
}

func (e *transportError) Error() string {
	if e.timedOut {
		return "no answer in time: " + e.err.Error()
	}
	return e.err.Error()
}

func (e *transportError) Unwrap() error { return e.err }

func isTimeout(err error) bool {
	var transport *transportError
	return errors.As(err, &transport) && transport.timedOut
}
