package gitlab_test

import (
	"context"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const accessToken = "glpat-personal"

// factsWorld is world with refs in its project, and with a project beside it.
func factsWorld() gitlabtest.Instance {
	w := world()
	p := w.Project(150)
	p.Branches = []string{"main", "release-1", "feature/x"}
	p.Tags = []string{"v1.0", "nightly/1"}
	p.ProtectedBranches = []string{"main", "release-*"}
	p.ProtectedTags = []string{"v*"}
	w.Projects = append(w.Projects, gitlabtest.Project{
		ID: 7, Group: 25, Path: "group1/group1-1/secret", Branches: []string{"main"}, Tags: []string{"v1.0"},
		Environments: []gitlabtest.Environment{{Name: "prod"}},
	})
	w.Tokens = append(w.Tokens, gitlabtest.AccessToken{Token: "glpat-registry", User: 9, Scopes: []string{"read_registry"}})
	return w
}

// factsServer serves factsWorld with a change, to a client that has the access token.
func factsServer(t *testing.T, change func(*gitlabtest.Instance)) (*gitlabtest.Server, *gitlab.Client, string) {
	t.Helper()
	w := factsWorld()
	if change != nil {
		change(&w)
	}
	s := gitlabtest.New(t, w)
	c := newClient(t, s.URL(), func(o *gitlab.Options) { o.AccessToken = accessToken + "\n" })
	w = s.Instance()
	return s, c, w.Job(jobID).Token
}

// asked is a question that a row of a table asks; token is the job's.
type asked func(ctx context.Context, c *gitlab.Client, token string) error

func askCurrentJob(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.CurrentJob(ctx, token, gitlab.Refresh)
	return err
}

func askBranch(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.BranchProtected(ctx, c.Access(), 150, "main")
	return err
}

func askTag(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.TagProtected(ctx, c.Access(), 150, "v1.0")
	return err
}

func askBranches(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.BranchListed(ctx, token, 150, "main")
	return err
}

func askEnvironments(ctx context.Context, c *gitlab.Client, token string) error {
	_, err := c.EnvironmentName(ctx, gitlab.JobToken(token), 150, "prod")
	return err
}

func askEnvironmentsByAccess(ctx context.Context, c *gitlab.Client, _ string) error {
	_, err := c.EnvironmentName(ctx, c.Access(), 150, "prod")
	return err
}

// questions are those about facts, each in every way it can be asked.
var questions = []struct {
	name     string
	endpoint string // as the fake calls it
	path     string // as errors and metrics call it
	access   bool   // asked with the access token
	ask      asked
}{
	{"current job", gitlabtest.CurrentJob, "api/v4/job", false, askCurrentJob},
	{"branch", gitlabtest.Branch, "api/v4/projects/:id/repository/branches/:branch", true, askBranch},
	{"tag", gitlabtest.Tag, "api/v4/projects/:id/repository/tags/:tag", true, askTag},
	{"branches", gitlabtest.Branches, "api/v4/projects/:id/repository/branches", false, askBranches},
	{"environments", gitlabtest.Environments, "api/v4/projects/:id/environments", false, askEnvironments},
	{"environments by access token", gitlabtest.Environments, "api/v4/projects/:id/environments", true, askEnvironmentsByAccess},
}
