package gitlab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// selfPath is lib/api/personal_access_tokens/self_information.rb: what the access token itself is. It takes every scope, and
// project and group access tokens, too.
const selfPath = "api/v4/personal_access_tokens/self"

// Bounds of what is kept of the answer: GitLab has about 20 scopes.
const (
	maxScopes = 64
	maxScope  = 64
)

// The scopes that let a token read GitLab's API. The wider one includes the other.
const (
	scopeReadAPI = "read_api"
	scopeAPI     = "api"
)

// ErrNotAnAccessToken is in the chain of the error for a token that GitLab refuses: unknown, expired or revoked.
var ErrNotAnAccessToken = errors.New("GitLab does not accept the access token")

// AccessToken is what GitLab says of the client's access token. It holds nothing of the token.
type AccessToken struct {
	Scopes  []string
	Expires string // a date, such as 2027-01-31; empty if the token does not expire
}

// ReadsAPI says whether the token may read GitLab's API.
func (t *AccessToken) ReadsAPI() bool {
	return slices.Contains(t.Scopes, scopeReadAPI) || slices.Contains(t.Scopes, scopeAPI)
}

// AccessToken asks GitLab about the client's access token. The error wraps ErrNotAnAccessToken if GitLab refuses it, else it is
// a *job.UnavailableError.
func (c *Client) AccessToken(ctx context.Context) (*AccessToken, error) {
	r := request{endpoint: selfPath, credential: c.access, queue: facts}
	var reply struct {
		Scopes    []string `json:"scopes"`
		ExpiresAt string   `json:"expires_at"`
	}
	_, err := get(ctx, c, r, func(a *answer) (struct{}, error) { return struct{}{}, a.decode("access token", &reply) })
	var asked *RequestError
	switch {
	case isRefused(err), errors.As(err, &asked) && (asked.Status == http.StatusUnauthorized || asked.Status == http.StatusForbidden):
		return nil, fmt.Errorf("%w: %w", ErrNotAnAccessToken, err)
	case err != nil:
		return nil, err
	}
	t := &AccessToken{Expires: shown(reply.ExpiresAt, c.access.secret, maxScope)}
	for _, scope := range reply.Scopes[:min(len(reply.Scopes), maxScopes)] {
		t.Scopes = append(t.Scopes, shown(scope, c.access.secret, maxScope))
	}
	return t, nil
}
