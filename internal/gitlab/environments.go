package gitlab

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/jobgate/jobgate/internal/job"
)

// environmentsPath is lib/api/environments.rb: a project's environments in every state. It finds one by its full name
// (name) or some by the beginning of their names (search), but none by its slug.
const environmentsPath = "api/v4/projects/:id/environments"

// environment is what is read of one (lib/api/entities/environment.rb).
type environment struct {
	Name string `json:"name"`
	Slug string `json:"slug"`
}

// environmentKey names what the jobs of a project share.
type environmentKey struct {
	project int64
	name    string
}

// namedEnvironment is the environment of a name. The slug is empty where there is none.
type namedEnvironment struct{ slug string }

func (n namedEnvironment) exists() bool { return n.slug != "" }

// EnvironmentNamed implements job.FactSource. Slugs are unique in a project, so the environment of that name is the job's
// exactly if it has the job's slug. The jobs of a project share for a minute which slug a name has.
func (c *Client) EnvironmentNamed(ctx context.Context, token string, j *job.Job, name string) (bool, error) {
	if checkName("environment", name) != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	key := environmentKey{project: j.ProjectID, name: name}
	found, err := c.named.get(ctx, key, namedEnvironment.exists, func(ctx context.Context) (namedEnvironment, error) {
		return askWithEither(c, token, whyEnvironments, func(cred credential) (namedEnvironment, error) {
			return c.askEnvironment(ctx, cred, key)
		})
	})
	return err == nil && found.exists() && found.slug == j.Environment.Slug, err
}

func (c *Client) askEnvironment(ctx context.Context, cred credential, key environmentKey) (namedEnvironment, error) {
	r := environmentsRequest(cred, key.project, url.Values{"name": {key.name}})
	return get(ctx, c, r, func(a *answer) (namedEnvironment, error) {
		page, err := readEnvironments(a)
		for _, e := range page {
			if err == nil && e.Name == key.name {
				return namedEnvironment{slug: e.Slug}, nil
			}
		}
		return namedEnvironment{}, err
	})
}

func environmentsRequest(cred credential, project int64, query url.Values) request {
	return request{
		endpoint:   environmentsPath,
		values:     []string{strconv.FormatInt(project, 10)},
		query:      query,
		credential: cred,
		queue:      facts,
	}
}

// readEnvironments reads a page. An environment without a name or a slug cannot be, and a longer name than GitLab allows
// cannot be kept.
func readEnvironments(a *answer) ([]environment, error) {
	var page []environment
	if err := a.decode("environments", &page); err != nil {
		return nil, err
	}
	if page == nil {
		return nil, fmt.Errorf("%w: no list of environments", ErrIncompleteReply)
	}
	for _, e := range page {
		if checkName("environment", e.Name) != nil || checkName("slug", e.Slug) != nil {
			return nil, fmt.Errorf("%w: environment's name has %d bytes, its slug %d", ErrIncompleteReply, len(e.Name), len(e.Slug))
		}
	}
	return page, nil
}
