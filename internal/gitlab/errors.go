package gitlab

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// ErrCircuitOpen is in the chain of an UnavailableError when the last attempt was not made at all, because GitLab had
// stopped answering a moment before.
var ErrCircuitOpen = errors.New("circuit breaker is open")

// ErrNoPlace is in the chain of an UnavailableError when the last attempt was not made, because it would have had to
// wait longer for the rate limit or for a place among the requests in flight than the lookup may take.
var ErrNoPlace = errors.New("no place for another request to GitLab in time")

// RejectedError is GitLab's own, definite answer that this token is no good: it does not belong to a running job (401),
// its user may not use the API (403), or it is not a job token (404). Asking again would not change it.
type RejectedError struct {
	Status  int    // 401, 403 or 404
	Message string // GitLab's words, at most 256 bytes; free text of another system, so quote it
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("GitLab refused the job token: %d %s (message %q)", e.Status, http.StatusText(e.Status), e.Message)
}

// RefusedError is GitLab's own, definite answer that the credential may not learn what was asked. It says nothing about
// whether a job still runs.
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
	var rejected *RejectedError
	var refused *RefusedError
	return errors.As(err, &rejected) || errors.As(err, &refused) || errors.Is(err, ErrNotFound)
}

// UnavailableError says that GitLab gave no usable answer within the lookup's time. It decides nothing about the token.
type UnavailableError struct {
	URL        string        // the endpoint that was asked, with placeholders for ids and names
	Attempts   int           // how often, including attempts the limits or the breaker held back
	Status     int           // of the last attempt's answer; 0 where there was none
	RetryAfter time.Duration // how long GitLab asked to be left alone; zero if it did not say
	Err        error         // what the last attempt met
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("ask GitLab: GET %s: %v (%d attempts)", e.URL, e.Err, e.Attempts)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

func (c *Client) unavailable(r request, attempts int, err error) *UnavailableError {
	u := &UnavailableError{URL: c.base.JoinPath(r.endpoint).String(), Attempts: attempts, Err: err}
	var answer *answerError
	if errors.As(err, &answer) {
		u.Status, u.RetryAfter = answer.status, answer.retryAfter
	}
	return u
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
type transportError struct{ error }

func (e *transportError) Unwrap() error { return e.error }
