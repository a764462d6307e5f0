package gitlab

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The headers of lib/gitlab/auth/auth_finders.rb. A token travels in its header and never in a query parameter or as a
// Bearer token: queries end up in access logs, and GitLab's rate limiter charges a Bearer job token to this server's
// address instead of to the job's user (request_authenticator.rb).
const (
	jobTokenHeader    = "JOB-TOKEN"
	accessTokenHeader = "PRIVATE-TOKEN"
)

// ErrNoCredential is in the chain of the error for a question without credential. It was not sent.
var ErrNoCredential = errors.New("no credential")

// errAccessToken repeats nothing of the token.
var errAccessToken = errors.New("access token has a character that no token has (only the line's end is cut off)")

// credential is a secret together with the header it travels in, so that no token can be sent under the other kind's
// header: GitLab would let an access token beside a job token win, and the job would not be seen. The zero value is no
// credential.
type credential struct {
	header string
	secret string
}

// jobToken is the credential of a job. An empty token makes no credential.
func jobToken(token string) credential { return newCredential(jobTokenHeader, token) }

// newAccess reads an access token as it stands in a file: a line. GitLab's own tokens are of A-Z a-z 0-9 . _ -, but an
// administrator chooses the prefix, so any visible ASCII passes.
func newAccess(line string) (credential, error) {
	token := strings.TrimRight(line, "\r\n")
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return credential{}, errAccessToken
	}
	return newCredential(accessTokenHeader, token), nil
}

func newCredential(header, secret string) credential {
	if secret == "" {
		return credential{}
	}
	return credential{header: header, secret: secret}
}

func (c credential) set(h http.Header) {
	if c != (credential{}) {
		h.Set(c.header, c.secret)
	}
}

// Format keeps the secret out of everything that is printed, whatever the verb.
func (c credential) Format(s fmt.State, _ rune) {
	if c == (credential{}) {
		fmt.Fprint(s, "no credential")
		return
	}
	fmt.Fprintf(s, "credential for %s", c.header)
}
