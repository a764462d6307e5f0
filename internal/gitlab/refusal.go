package gitlab

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	kjson "sigs.k8s.io/json"
)

// unknownRoute is how Grape, GitLab's API framework, answers for a route that it does not have.
const unknownRoute = "404 Not Found"

// noRecord are the answers for a thing that does not exist in a project that may be seen: not_found! (lib/api/helpers.rb)
// and what lib/api/api.rb makes of ActiveRecord::RecordNotFound. A project that may not be seen is 404 Project Not Found.
var noRecord = []string{"404 Not Found", "404 Not found"}

// tokenErrors are the errors of lib/api/api_guard.rb for an access token that has expired, was revoked or is of too small
// a scope (RFC 6750, section 3.1). A job token never gets them.
var tokenErrors = []string{"invalid_token", "insufficient_scope"}

// refusal reads the message of GitLab's error body (lib/api/helpers.rb), which always begins with the status. Gateways
// answer with a message, too (404 {"message":"no Route matched with those values"}), and that says nothing about a job.
func (r request) refusal(status int, body []byte) (message string, ok bool) {
	var object struct {
		Message any `json:"message"`
		Error   any `json:"error"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &object); err != nil {
		return "", false
	}
	if message, ok = object.Message.(string); ok {
		return message, strings.HasPrefix(message, strconv.Itoa(status)+" ")
	}
	text, isText := object.Error.(string)
	if object.Message != nil || !isText {
		return "", false
	}
	if status == http.StatusNotFound {
		return "no such endpoint in this GitLab", r.optional && text == unknownRoute
	}
	return text, r.credential.header == accessTokenHeader && slices.Contains(tokenErrors, text)
}
