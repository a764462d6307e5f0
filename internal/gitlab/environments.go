package gitlab

import (
	"context"
	"fmt"
	"strconv"

	kjson "sigs.k8s.io/json"
)

// environmentsPath is lib/api/environments.rb: a project's environments in every state, by id. There is no filter by
// slug, and a job may run in an environment that is stopping or stopped.
const environmentsPath = "api/v4/projects/:id/environments"

// maxEnvironmentPages bounds one search: 5,000 environments.
const maxEnvironmentPages = 50

// EnvironmentName asks for the full name of the project's environment with the slug; slugs are unique in a project. The
// name is 1 to 1024 bytes of free text. It takes at most the client's timeout, and at most 50 pages. The error is a
// *RefusedError, an *UnavailableError, or wraps ErrNotFound.
func (c *Client) EnvironmentName(ctx context.Context, cred Credential, projectID int64, slug string) (string, error) {
	if err := checkName("environment", slug); err != nil {
		return "", err
	}
	r := request{
		endpoint:   environmentsPath,
		values:     []string{strconv.FormatInt(projectID, 10)},
		credential: cred,
	}
	found, err := lookThrough(ctx, c, r, maxEnvironmentPages, pickEnvironment(slug))
	if err != nil {
		return "", err
	}
	return *found, nil
}

func pickEnvironment(slug string) func([]byte) (*string, error) {
	return func(body []byte) (*string, error) {
		var page []struct {
			Name string `json:"name"`
			Slug string `json:"slug"`
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(body, &page); err != nil {
			return nil, fmt.Errorf("decode environments: %w", err)
		}
		if page == nil {
			return nil, fmt.Errorf("%w: no list of environments", ErrIncompleteReply)
		}
		for _, e := range page {
			if e.Slug != slug {
				continue
			}
			if e.Name == "" || len(e.Name) > maxName {
				return nil, fmt.Errorf("%w: environment's name has %d bytes", ErrIncompleteReply, len(e.Name))
			}
			return &e.Name, nil
		}
		return nil, nil
	}
}
