package e2e_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
)

// patience bounds what a test waits for. It only ends a broken run.
const patience = eventually.Patience

// firstJob is the job of the example on GitLab's page on impersonation; jobCount counts on from it.
const firstJob = 1074499489

var jobCount atomic.Int64

// job is a running CI job with a shell.
type job struct {
	*kubectl.Workspace
	gitlabtest.Job
}

// runJob starts a job; what is left out of it is a branch pipeline of main, run by the developer in project 150.
func runJob(t *testing.T, j gitlabtest.Job, env ...string) job {
	t.Helper()
	j.ID, j.Status = firstJob+jobCount.Add(1)-1, "running"
	j.Project, j.User = cmp.Or(j.Project, project), cmp.Or(j.User, developer)
	j.Pipeline.ID, j.Pipeline.Ref = j.ID-1e6, cmp.Or(j.Pipeline.Ref, "main")
	updateGitLab(t, func(w *gitlabtest.Instance) { w.Jobs = append(w.Jobs, j) })
	j = jobByID(t, j.ID)
	w, err := site.Job(j, env...)
	if err != nil {
		t.Fatal(err)
	}
	return job{Workspace: w, Job: j}
}

// loggedIn is a job of project 150 (unless given otherwise) that uses its kubeconfig with the given context.
func loggedIn(t *testing.T, j gitlabtest.Job, context string) job {
	t.Helper()
	return loggedInTo(t, site.API, j, context)
}

func loggedInTo(t *testing.T, server *controlplane.APIServer, j gitlabtest.Job, context string) job {
	t.Helper()
	running := runJob(t, j)
	running.use(t, server, context)
	return running
}

// use points the kubeconfig to the API server, as jobgate needs it, and selects a context, as GitLab's page does.
func (j job) use(t *testing.T, server *controlplane.APIServer, context string) {
	t.Helper()
	succeed(t, j.Workspace, site.PointToCluster(server)...)
	succeed(t, j.Workspace, "config", "use-context", context)
}

func (j job) end(t *testing.T) {
	t.Helper()
	updateGitLab(t, func(w *gitlabtest.Instance) {
		w.Job(j.ID).Status = "success"
	})
}

// bearer is a workspace whose user shows a bearer token to the server, whatever the token is.
func bearer(t *testing.T, server *controlplane.APIServer, token string) *kubectl.Workspace {
	t.Helper()
	w, err := site.Workspace()
	if err != nil {
		t.Fatal(err)
	}
	noteToken(t, token)
	if err := server.WriteBearerKubeconfig(w.Kubeconfig, token); err != nil {
		t.Fatal(err)
	}
	return w
}

func admin(t *testing.T) *kubectl.Workspace {
	t.Helper()
	w, err := site.Admin()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func apply(t *testing.T, manifest string) {
	t.Helper()
	result, err := admin(t).Apply(t.Context(), manifest)
	if err != nil {
		t.Fatal(err)
	}
	if !result.OK() {
		t.Fatalf("kubectl apply failed: %s", result)
	}
}

// try runs kubectl and lets it fail.
func try(t *testing.T, w *kubectl.Workspace, args ...string) kubectl.Result {
	t.Helper()
	result, err := w.Run(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// succeed runs kubectl, which must succeed, and returns its standard output.
func succeed(t *testing.T, w *kubectl.Workspace, args ...string) string {
	t.Helper()
	result := try(t, w, args...)
	if !result.OK() {
		t.Fatalf("kubectl %s failed: %s", args[0], result)
	}
	return result.Stdout
}

// loggedOut is what kubectl says about a 401. It is checked in full, since a refused connection is no 401.
const loggedOut = "error: You must be logged in to the server (Unauthorized)\n"

// wantUnauthorized fails unless the API server answers the workspace's user 401.
func wantUnauthorized(t *testing.T, w *kubectl.Workspace) {
	t.Helper()
	if err := checkUnauthorized(t, w); err != nil {
		t.Error(err)
	}
}

func checkUnauthorized(t *testing.T, w *kubectl.Workspace) error {
	t.Helper()
	result := try(t, w, "auth", "whoami")
	if result.OK() || result.Stderr != loggedOut {
		return fmt.Errorf("kubectl auth whoami should have been answered 401: %s", result)
	}
	return nil
}

// whoami is the user as the API server sees it.
func whoami(t *testing.T, w *kubectl.Workspace) authenticationv1.UserInfo {
	t.Helper()
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(succeed(t, w, "auth", "whoami", "-o", "json")), &review); err != nil {
		t.Fatalf("decode what kubectl auth whoami printed: %v", err)
	}
	return review.Status.UserInfo
}

func checkLoggedIn(t *testing.T, w *kubectl.Workspace) error {
	t.Helper()
	if result := try(t, w, "auth", "whoami"); !result.OK() {
		return fmt.Errorf("kubectl auth whoami failed: %s", result)
	}
	return nil
}

// extras are the documented extras of the job's identity through the agent.
func (j job) extras(agent int64) map[string]authenticationv1.ExtraValue {
	extras := map[string]authenticationv1.ExtraValue{
		"agent.gitlab.com/id":                one(agent),
		"agent.gitlab.com/config_project_id": one(agentsProject),
		"agent.gitlab.com/project_id":        one(j.Project),
		"agent.gitlab.com/ci_pipeline_id":    one(j.Pipeline.ID),
		"agent.gitlab.com/ci_job_id":         one(j.ID),
		"agent.gitlab.com/username":          {"jdoe"},
	}
	switch j.Environment {
	case "prod":
		extras["agent.gitlab.com/environment_slug"] = authenticationv1.ExtraValue{"prod"}
		extras["agent.gitlab.com/environment_tier"] = authenticationv1.ExtraValue{"production"}
	case "staging":
		extras["agent.gitlab.com/environment_slug"] = authenticationv1.ExtraValue{"staging"}
		extras["agent.gitlab.com/environment_tier"] = authenticationv1.ExtraValue{"staging"}
	}
	return extras
}

func (j job) username() string { return "gitlab:ci_job:" + strconv.FormatInt(j.ID, 10) }

func one(id int64) authenticationv1.ExtraValue {
	return authenticationv1.ExtraValue{strconv.FormatInt(id, 10)}
}
