package gitlab

import (
	"context"
)

// versionPath is lib/api/metadata.rb: the release. It takes an access token; without one GitLab refuses in its own words.
const versionPath = "api/v4/version"

// Version asks GitLab for its release: empty where there is no access token, or it may not read it. The error says that
// what answers there, if anything does, is not GitLab.
func (c *Client) Version(ctx context.Context) (string, error) {
	r := request{endpoint: versionPath, credential: c.access, anonymous: !c.CanAsk(), queue: facts, optional: true}
	var reply struct {
		Version string `json:"version"`
	}
	_, err := get(ctx, c, r, func(a *answer) (struct{}, error) { return struct{}{}, a.decode("version", &reply) })
	if isRefused(err) {
		return "", nil
	}
	if checkName("version", reply.Version) != nil {
		reply.Version = ""
	}
	return reply.Version, err
}
