package gitlab_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	jobID       = math.MaxInt64 // ids must survive JSON to the last digit
	accessToken = "glpat-personal-of-a-bot"
)

// instance is one running job of project 150, whose agent 4 lists it, and a project beside it.
func instance() gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true, ExtraRoles: []string{"galactic_overlord"}},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}, {ID: 25, Parent: 23, Path: "group1/group1-1"}},
		Projects: []gitlabtest.Project{
			{
				ID: 150, Group: 25, Path: "group1/group1-1/project1",
				Environments:          []gitlabtest.Environment{{Name: "prod", Tier: "production"}},
				ProtectedEnvironments: []string{"prod"},
				Branches:              []string{"main", "release-1", "feature/x"},
				Tags:                  []string{"v1.0", "nightly/1"},
				ProtectedBranches:     []string{"main", "release-*"},
				ProtectedTags:         []string{"v*"},
			},
			{
				ID: 7, Group: 25, Path: "group1/group1-1/secret", Branches: []string{"main"}, Tags: []string{"v1.0"},
				Environments: []gitlabtest.Environment{{Name: "prod"}},
			},
		},
		Users: []gitlabtest.User{
			{ID: 9, Username: "jdoe", Access: map[int64]int{150: 20}},
			{ID: 10, Username: "bot", Access: map[int64]int{150: 40}},
		},
		Agents: []gitlabtest.Agent{{ID: 4, Name: "agent-name", Project: 150,
			Config: "ci_access:\n  projects:\n  - id: group1/group1-1/project1\n    access_as: {ci_job: {}}\n"}},
		Jobs: []gitlabtest.Job{{
			ID: jobID, Project: 150, User: 9, Status: "running", Environment: "prod",
			Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main"},
		}},
		Tokens: []gitlabtest.AccessToken{
			{Token: accessToken, User: 10, Scopes: []string{"read_api"}},
			{Token: "glpat-registry", User: 10, Scopes: []string{"read_registry"}},
			{Token: "glpat-expired", User: 10, Scopes: []string{"read_api"}, Expires: time.Unix(1, 0)},
			{Token: "glpat-revoked", User: 10, Scopes: []string{"read_api"}, Revoked: true},
		},
	}
}

// start serves instance with a change, and returns the token of its job.
func start(t *testing.T, change func(*gitlabtest.Instance)) (*gitlabtest.Server, string) {
	t.Helper()
	i := instance()
	if change != nil {
		change(&i)
	}
	s := gitlabtest.New(t, i)
	i = s.Instance()
	return s, i.Job(jobID).Token
}

// newClient makes a client with settings that let tests press as they like.
func newClient(t *testing.T, url string, change func(*gitlab.Options)) *gitlab.Client {
	t.Helper()
	o := gitlab.Options{
		URL: url, Timeout: 10 * time.Second, MaxInFlight: 64, RequestsPerSecond: 2000, Burst: 2000,
		UserAgent: "jobgate/test", RetryInterval: time.Millisecond,
	}
	if change != nil {
		change(&o)
	}
	c, err := gitlab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// withAccess gives the client the access token as it stands in its file.
func withAccess(o *gitlab.Options) { o.AccessToken = accessToken + "\n" }

// identified is the fixture's job as Identify returns it.
func identified() *job.Job {
	return &job.Job{
		ID: jobID, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Environment: job.Environment{Slug: "prod", Tier: "production"},
	}
}

// on is the fixture's job on a ref.
func on(kind job.RefType, name string) *job.Job {
	j := identified()
	j.Ref = job.Ref{Name: name, Type: kind}
	return j
}

// rejection is that of the error, or empty.
func rejection(err error) job.Rejection {
	var rejected *job.RejectedError
	if errors.As(err, &rejected) {
		return rejected.Rejection
	}
	return ""
}

// unlearnable is the hint of the error, or empty.
func unlearnable(err error) string {
	var e *job.UnlearnableError
	if errors.As(err, &e) {
		return e.Why
	}
	return ""
}

func isUnavailable(err error) bool {
	var e *job.UnavailableError
	return errors.As(err, &e)
}

// request is the detail of an error that says that GitLab could not be asked.
func request(t *testing.T, err error) *gitlab.RequestError {
	t.Helper()
	var r *gitlab.RequestError
	if !isUnavailable(err) || !errors.As(err, &r) {
		t.Fatalf("error is %v, want unavailable with the request", err)
	}
	return r
}
