package gitlab

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jobgate/jobgate/internal/job"
)

// protectedEnvironmentPath is ee/lib/api/protected_environments.rb: one rule for protected environments, by the
// environment's full name. It takes no job token, and the Free tier does not have it.
const protectedEnvironmentPath = "api/v4/projects/:id/protected_environments/:name"

// EnvironmentProtected implements job.FactSource with the access token. Environments that only a group's rule protects
// count as unprotected, so that a requirement fails rather than passes. The jobs of a project share the answer for a
// minute.
func (c *Client) EnvironmentProtected(ctx context.Context, j *job.Job) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	name := j.Environment.Name.Value
	if !c.CanAsk() {
		return false, &job.UnlearnableError{Why: whyNoAccess}
	}
	if err := checkName("environment", name); err != nil {
		return false, &job.UnlearnableError{Why: "the environment's name is not known", Err: err}
	}
	key := environmentKey{project: j.ProjectID, name: name}
	protected, err := c.protected.get(ctx, key, anyValue, func(ctx context.Context) (bool, error) {
		return c.askProtectedEnvironment(ctx, key)
	})
	return protected, asFactError(err, whyProtected)
}

func (c *Client) askProtectedEnvironment(ctx context.Context, key environmentKey) (bool, error) {
	r := request{
		endpoint:   protectedEnvironmentPath,
		values:     []string{strconv.FormatInt(key.project, 10), key.name},
		credential: c.access,
		queue:      facts,
		missing:    noRecord,
		optional:   true,
	}
	protected, err := get(ctx, c, r, func(a *answer) (bool, error) {
		var rule struct {
			Name string `json:"name"`
		}
		if err := a.decode("protected environment", &rule); err != nil {
			return false, err
		}
		if rule.Name != key.name {
			return false, fmt.Errorf("%w: it is about another environment", ErrIncompleteReply)
		}
		return true, nil
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return protected, err
}
