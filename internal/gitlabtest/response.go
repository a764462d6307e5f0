package gitlabtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// response is an answer before it is written, so that a fault can still spoil it.
type response struct {
	status int
	header http.Header
	body   []byte
}

func jsonResponse(status int, value any) *response {
	body, err := json.Marshal(value)
	if err != nil {
		return errorResponse(fmt.Errorf("encoding the answer: %w", err))
	}
	return &response{
		status: status,
		header: http.Header{
			"Content-Type":           {"application/json"},
			"Cache-Control":          {"max-age=0, private, must-revalidate"},
			"X-Content-Type-Options": {"nosniff"},
			"X-Frame-Options":        {"SAMEORIGIN"},
		},
		body: body,
	}
}

// apiError is an answer other than success that the API gives on purpose.
type apiError struct {
	status int
	body   map[string]string
	header map[string]string
}

func (e *apiError) Error() string { return http.StatusText(e.status) }

// message is the form of almost all API errors (lib/api/helpers.rb).
func message(status int, text string) *apiError {
	return &apiError{status: status, body: map[string]string{"message": text}}
}

func forbidden(reason string) *apiError {
	return message(http.StatusForbidden, "403 Forbidden - "+reason)
}

func notFound(what string) *apiError {
	return message(http.StatusNotFound, "404 "+what+" Not Found")
}

// badParameter is how Grape refuses a parameter before the endpoint sees it.
func badParameter(text string) *apiError {
	return &apiError{status: http.StatusBadRequest, body: map[string]string{"error": text}}
}

var (
	errUnauthorized = message(http.StatusUnauthorized, "401 Unauthorized")
	errForbidden    = message(http.StatusForbidden, "403 Forbidden")
	errNoRoute      = &apiError{status: http.StatusNotFound, body: map[string]string{"error": "404 Not Found"}}
	errBadMethod    = &apiError{status: http.StatusMethodNotAllowed, body: map[string]string{"error": "405 Not Allowed"}}
	// errNoRecord is what ActiveRecord::RecordNotFound becomes (lib/api/api.rb). Other 404s say "Not Found".
	errNoRecord = message(http.StatusNotFound, "404 Not found")
	// An expired or revoked access token (oauth2_bearer_token_error_handler, lib/api/api_guard.rb).
	errExpiredToken = invalidToken("Token is expired. You can either do re-authorization or token refresh.")
	errRevokedToken = invalidToken("Token was revoked. You have to re-authorize from the user.")
	// errInsufficientScope refuses an access token with other scopes (RFC 6750 section 3.1, as rack-oauth2 has it).
	errInsufficientScope = &apiError{status: http.StatusForbidden, body: map[string]string{
		"error":             "insufficient_scope",
		"error_description": "The request requires higher privileges than provided by the access token.",
		"scope":             "api read_api",
	}}
)

// invalidToken is rack-oauth2's answer to a token that is no longer valid.
func invalidToken(description string) *apiError {
	return &apiError{
		status: http.StatusUnauthorized,
		body:   map[string]string{"error": "invalid_token", "error_description": description},
		header: map[string]string{"WWW-Authenticate": fmt.Sprintf(
			`Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="%s"`, description)},
	}
}

// errorResponse renders an apiError; any other error is an exception, which GitLab does not explain.
func errorResponse(err error) *response {
	var known *apiError
	if !errors.As(err, &known) {
		known = message(http.StatusInternalServerError, "500 Internal Server Error")
	}
	out := jsonResponse(known.status, known.body)
	for name, value := range known.header {
		out.header.Set(name, value)
	}
	return out
}
