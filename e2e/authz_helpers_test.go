package e2e_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

//go:embed testdata/authorization.yaml
var authorizationManifest string

// probe is a request that needs no discovery before it: kubectl then prints the reason of a refusal.
const probe = "get --raw /api/v1/namespaces/shop/configmaps"

// presenting is a job of path/to/shop (unless given otherwise) that shows its token for an agent, whether GitLab lists
// it or not.
func presenting(t *testing.T, agent int64, j gitlabtest.Job) job {
	t.Helper()
	return presentingTo(t, site.API, agent, j)
}

func presentingTo(t *testing.T, server *controlplane.APIServer, agent int64, j gitlabtest.Job) job {
	t.Helper()
	if j.Project == 0 {
		j.Project = shopProject
	}
	return runJob(t, j).at(t, server, agent)
}

// at is the job in another shell, from which it shows its token for an agent to a server.
func (j job) at(t *testing.T, server *controlplane.APIServer, agent int64) job {
	t.Helper()
	token, _ := ciToken(agent, j)
	j.Workspace = bearer(t, server, token)
	return j
}

// lasting is an API server that remembers for a day who a token is, so that only the authorizer can end a login there. It
// starts when it is first used, and ends with the site.
func lasting(t *testing.T) *controlplane.APIServer {
	t.Helper()
	server, err := startLasting()
	if err != nil {
		t.Fatal(err)
	}
	return server
}

var startLasting = sync.OnceValues(func() (*controlplane.APIServer, error) {
	return site.Plane.StartAPIServer(context.Background(),
		sandbox.LongMemory(site.Jobgate.APIServer("kube-apiserver-with-long-memory")))
})

// reconfigure changes the configuration of the running jobgate until the test ends.
func reconfigure(t *testing.T, change func(*config.Configuration)) {
	t.Helper()
	before, err := site.Jobgate.Configuration()
	if err != nil {
		t.Fatal(err)
	}
	if err := site.Jobgate.Reconfigure(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Jobgate.Reconfigure(context.Background(), func(c *config.Configuration) { *c = *before }); err != nil {
			t.Error(err)
		}
	})
}

// withSettings changes GitLab's settings until the test ends.
func withSettings(t *testing.T, change func(*gitlabtest.Settings)) {
	t.Helper()
	before := site.GitLab.Instance()
	updateGitLab(t, func(w *gitlabtest.Instance) { change(&w.Settings) })
	t.Cleanup(func() { updateGitLab(t, func(w *gitlabtest.Instance) { w.Settings = before.Settings }) })
}

// quick makes jobgate ask GitLab about a job again after half a second.
func quick(t *testing.T) {
	t.Helper()
	reconfigure(t, func(c *config.Configuration) { c.Cache.FreshFor.Duration = 500 * time.Millisecond })
}

// afterAnotherLookup returns once GitLab has been asked about the job again, by a request of the job's.
func afterAnotherLookup(t *testing.T, j job) {
	t.Helper()
	before := lookups(j)
	eventually.Succeeds(t, func() error {
		try(t, j.Workspace, strings.Fields(probe)...)
		if lookups(j) == before {
			return errors.New("GitLab has not been asked again")
		}
		return nil
	})
}

// lookups is how often GitLab has been asked about the job.
func lookups(j job) int {
	count := 0
	for _, request := range site.GitLab.Requests(gitlabtest.AllowedAgents) {
		if slices.Contains(request.Header["Job-Token"], j.Token) {
			count++
		}
	}
	return count
}

func shopOf(w *gitlabtest.Instance) *gitlabtest.Project {
	i := slices.IndexFunc(w.Projects, func(p gitlabtest.Project) bool { return p.ID == shopProject })
	return &w.Projects[i]
}

// secretFile is a file with one line.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// metric is the sum of the series of one of jobgate's counters that have the labels, given as name and value in turn.
func metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	wanted := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		wanted[labels[i]] = labels[i+1]
	}
	value, err := site.Jobgate.Metric(t.Context(), name, wanted)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// outcome is the result of a command: one of the constants, or the part of jobgate's reason that matters.
type outcome string

const (
	isAllowed      outcome = "allowed"
	isUnauthorized outcome = "an ordinary 401"
	isForbidden    outcome = "forbidden by RBAC"

	withoutReason outcome = "refused, and kubectl does not say why"
)

// denialMark begins what jobgate says at the end of what kubectl prints.
const denialMark = "jobgate: "

// reasonless are what kubectl prints instead of a reason.
var reasonless = []string{
	"Error from server (Forbidden): unknown",
	"error: the selfsubjectreviews API is not enabled in the cluster or you do not have permission to call it",
}

func lastLine(text string) string {
	text = strings.TrimSuffix(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// check runs the command, split at blanks. docs/troubleshooting.md has to show a refusal as kubectl prints it.
func (want outcome) check(t *testing.T, w *kubectl.Workspace, command string) error {
	t.Helper()
	result := try(t, w, strings.Fields(command)...)
	got := outcome("something else")
	switch {
	case result.OK():
		got = isAllowed
	case result.Stderr == loggedOut:
		got = isUnauthorized
	case strings.Contains(result.Stderr+result.Stdout, denialMark):
		got = "a denial"
		if strings.Contains(result.Stderr+result.Stdout, string(want)) {
			got = want
		}
	case strings.Contains(result.Stderr, ` is forbidden: User "`):
		got = isForbidden
	case slices.Contains(reasonless, lastLine(result.Stderr)):
		got = withoutReason
	}
	if got != want {
		return fmt.Errorf("kubectl %s: want %q, got %s: %s", command, want, got, result)
	}
	if got != isAllowed {
		wantExplained(t, result)
	}
	return nil
}

func (want outcome) of(t *testing.T, w *kubectl.Workspace, command string) {
	t.Helper()
	if err := want.check(t, w, command); err != nil {
		t.Error(err)
	}
}

// soon waits for the outcome of a request that had another one a moment ago: kube-apiserver repeats an answer for a second.
func (want outcome) soon(t *testing.T, w *kubectl.Workspace, command string) {
	t.Helper()
	eventually.Succeeds(t, func() error { return want.check(t, w, command) })
}
