package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/kubectl"
)

var gitlabIsDown = gitlabtest.Fault{
	Endpoint: gitlabtest.AnyEndpoint, Status: http.StatusServiceUnavailable, Body: "<html>Deploy in progress</html>",
}

// impatient makes an answer of GitLab's fresh for half a second, and usable for a while after that.
func impatient(t *testing.T, staleFor time.Duration) {
	t.Helper()
	reconfigure(t, func(c *config.Configuration) {
		c.Cache.FreshFor.Duration, c.Cache.StaleFor.Duration = 500*time.Millisecond, staleFor
	})
}

// whileStale returns once a request of the job was allowed by an answer of GitLab's that was past its freshness.
func whileStale(t *testing.T, j job) {
	t.Helper()
	stale := func() float64 { return metric(t, "jobgate_job_lookups_total", "result", "stale") }
	before := stale()
	eventually.Succeeds(t, func() error {
		isAllowed.of(t, j.Workspace, probe)
		if stale() == before {
			return errors.New("GitLab's answer is still fresh")
		}
		return nil
	})
}

func TestGitLabOutage_RunningJobsGoOnForStaleFor(t *testing.T) {
	impatient(t, time.Hour)
	remembered := presentingTo(t, lasting(t), openAgent, gitlabtest.Job{})
	renewing := presenting(t, openAgent, gitlabtest.Job{})
	isAllowed.of(t, remembered.Workspace, probe)
	isAllowed.of(t, renewing.Workspace, probe)

	recoverNow := unwell(t, gitlabIsDown)
	whileStale(t, remembered)
	whileStale(t, renewing)
	// Past staleFor they are refused: with the reason as long as the API server remembers who they are, without after that.
	impatient(t, time.Second)
	const unconfirmed outcome = "GitLab has not confirmed for too long that job"
	eventually.Succeeds(t, func() error { return unconfirmed.check(t, remembered.Workspace, probe) })
	eventually.Succeeds(t, func() error { return isUnauthorized.check(t, renewing.Workspace, probe) })
	recoverNow()
	eventually.Succeeds(t, func() error { return isAllowed.check(t, remembered.Workspace, probe) })
	eventually.Succeeds(t, func() error { return isAllowed.check(t, renewing.Workspace, probe) })
}

// staleFor is for a GitLab that does not answer. One that says no is believed at once.
func TestGitLabOutage_A401EndsAJobThatCouldGoOnStale(t *testing.T) {
	impatient(t, time.Hour)
	j := presentingTo(t, lasting(t), openAgent, gitlabtest.Job{})
	isAllowed.of(t, j.Workspace, probe)
	recoverNow := unwell(t, gitlabIsDown)
	whileStale(t, j)
	j.end(t)
	isAllowed.of(t, j.Workspace, probe)
	recoverNow()
	eventually.Succeeds(t, func() error {
		return outcome("has ended, and its token is no longer valid").check(t, j.Workspace, probe)
	})
}

// A restarted jobgate knows no job. While GitLab is down it cannot learn of any either, so that what it still enforces,
// it reads in the identities that the API server remembers.
func TestRestart_RunningJobsGoOnUnderTheirRestrictions(t *testing.T) {
	tests := []struct {
		name      string
		namespace string
		job       gitlabtest.Job
		want      outcome
	}{
		{"no restriction", "shop", gitlabtest.Job{}, isAllowed},
		{"tier", "tier", gitlabtest.Job{Environment: "production"}, isAllowed},
		{"another tier", "tier", gitlabtest.Job{Environment: "staging"}, `and the job's is "staging"`},
		{"environment", "environment", gitlabtest.Job{Environment: "eu/prod"}, isAllowed},
		{"another environment", "environment", gitlabtest.Job{Environment: "staging"}, `and the job's is "staging"`},
		{"protected ref", "ref", gitlabtest.Job{Pipeline: onMain}, isAllowed},
		{"unprotected ref", "ref", gitlabtest.Job{Pipeline: onFeature}, `ref "feature" is not protected`},
		{"group", "group", gitlabtest.Job{}, isAllowed},
		{"another group", "other-group", gitlabtest.Job{}, "its project must be in one of the groups 31"},
		{"role", "role", gitlabtest.Job{User: maintainer}, isAllowed},
		{"another role", "role", gitlabtest.Job{}, `one of the roles "maintainer", "owner"`},
		{"project", "project", gitlabtest.Job{}, "its project must be one of 161, 162"},
	}
	jobs := make([]job, len(tests))
	for i, test := range tests {
		jobs[i] = presentingTo(t, lasting(t), requiringAgent, test.job)
		test.want.of(t, jobs[i].Workspace, listConfigMaps(test.namespace))
	}
	denied := presentingTo(t, lasting(t), prodAgent, gitlabtest.Job{Environment: "preprod"})
	outcome("it is for environments").of(t, denied.Workspace, probe)

	unwell(t, gitlabIsDown)
	if err := site.Jobgate.Restart(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.want.of(t, jobs[i].Workspace, listConfigMaps(test.namespace)) })
	}
	t.Run("denied login", func(t *testing.T) { outcome("it is for environments").of(t, denied.Workspace, probe) })
	if known := metric(t, "jobgate_jobs_known"); known != 0 {
		t.Errorf("jobgate knows %v jobs: the extras alone were to be judged", known)
	}
}

func TestJobgateStopped_RefusesCIJobsAlone(t *testing.T) {
	remembered := presentingTo(t, lasting(t), openAgent, gitlabtest.Job{})
	isAllowed.of(t, remembered.Workspace, probe)
	others := bystanders(t)
	stopJobgate(t)
	// Not at once: for a second the API server repeats what jobgate has said.
	eventually.Succeeds(t, func() error {
		result := try(t, remembered.Workspace, strings.Fields(probe)...)
		if result.OK() {
			return fmt.Errorf("a job whose login the API server remembers should have been refused: %s", result)
		}
		wantExplained(t, result)
		return nil
	})
	isUnauthorized.of(t, presenting(t, openAgent, gitlabtest.Job{}).Workspace, probe)
	for name, other := range others {
		t.Run(name, func(t *testing.T) { isAllowed.of(t, other.Workspace, other.command) })
	}
}

// bystander is a user who does not come from GitLab.
type bystander struct {
	*kubectl.Workspace
	command string // what they do all day
}

// bystanders are users of every kind that a cluster has. None is in system:masters, about whom no authorizer is asked.
func bystanders(t *testing.T) map[string]bystander {
	t.Helper()
	token := strings.TrimSpace(succeed(t, admin(t), "create", "token", "bystander", "-n", "default"))
	return map[string]bystander{
		"administrator": {certified(t, site.API, "ada", "platform-admins"),
			"get --raw /api/v1/namespaces/kube-system/configmaps"},
		"user without extras": {certified(t, site.API, "ada", "platform-admins"),
			"get --raw /api/v1/namespaces/shop/configmaps --as=static-bot"},
		"controller":     {certified(t, site.API, "system:kube-scheduler"), "get --raw /api/v1/pods"},
		"node":           {certified(t, site.API, "system:node:worker", "system:nodes"), "get --raw /api/v1/nodes/worker"},
		"ServiceAccount": {bearer(t, site.API, token), probe},
		"unknown user": {certified(t, site.API, "ada", "platform-admins"),
			"get --raw /readyz --as=system:anonymous --as-group=system:unauthenticated"},
	}
}

func certified(t *testing.T, server *controlplane.APIServer, user string, groups ...string) *kubectl.Workspace {
	t.Helper()
	w, err := site.Workspace()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.WriteClientKubeconfig(w.Kubeconfig, user, groups...); err != nil {
		t.Fatal(err)
	}
	return w
}

// The API server asks jobgate about the requests of CI jobs alone.
func TestMatchConditions_OnlyCIJobsAreAskedAbout(t *testing.T) {
	asked := func(t *testing.T) float64 {
		return metric(t, "jobgate_subjectaccessreviews_total") +
			metric(t, "jobgate_http_requests_total", "handler", "authorize")
	}
	for name, other := range bystanders(t) {
		t.Run(name, func(t *testing.T) {
			before := asked(t)
			isAllowed.of(t, other.Workspace, other.command)
			if more := asked(t) - before; more != 0 {
				t.Errorf("jobgate counts %v more", more)
			}
		})
	}
	for name, agent := range map[string]int64{"ci_job": openAgent, "agent": bareShopAgent, "impersonate": staticAgent} {
		t.Run("CI job, "+name, func(t *testing.T) {
			j := presenting(t, agent, gitlabtest.Job{})
			before := asked(t)
			isAllowed.of(t, j.Workspace, probe)
			if more := asked(t) - before; more != 2 {
				t.Errorf("jobgate counts %v more, want one review and one request", more)
			}
		})
	}
}
