package gitlab

import (
	"context"
	"io"
	"net/http"
)

// keysPath is app/controllers/jwks_controller.rb: the public keys that GitLab signs its ID tokens with.
const keysPath = "oauth/discovery/keys"

// Keys returns the instance's key set, a JSON document of at most 1 MiB. It is asked for past all caches, since GitLab
// lets them keep it for a day. The error is a *job.UnavailableError.
func (c *Client) Keys(ctx context.Context) ([]byte, error) {
	r := request{
		endpoint: keysPath, anonymous: true, queue: refreshes, header: http.Header{"Cache-Control": {"no-cache"}},
	}
	keys, err := get(ctx, c, r, func(a *answer) ([]byte, error) { return io.ReadAll(a.body) })
	return keys, asTrouble(err)
}
