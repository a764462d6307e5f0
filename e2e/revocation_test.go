package e2e_test

import (
	"crypto/tls"
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
)

// revocation is a running job that loses its right. One shell asks the API server that caches as recommended, whatever
// it is that ends the login there; the other one that remembers logins for a day, where jobgate's authorizer has to.
type revocation struct {
	name        string
	agent       int64
	environment string
	revoke      func(*gitlabtest.Instance, job)
	want        outcome // from the authorizer

	usual, lasting job
	refusedAfter   map[string]time.Duration
}

func revocations() []*revocation {
	end := func(w *gitlabtest.Instance, j job) { w.Job(j.ID).Status = "success" }
	const ended, unlisted = "has ended, and its token is no longer valid", "GitLab no longer lets job"
	return []*revocation{
		{name: "the job ends, ci_job", agent: openAgent, revoke: end, want: ended},
		{name: "the job ends, agent", agent: bareShopAgent, revoke: end, want: ended},
		{name: "the job ends, impersonate", agent: staticAgent, revoke: end, want: ended},
		{name: "the project leaves ci_access", agent: removedAgent, want: unlisted,
			revoke: func(w *gitlabtest.Instance, _ job) { agentOf(w, removedAgent).Config = "ci_access: {}" }},
		{name: "environments are narrowed", agent: narrowedAgent, environment: "staging", want: unlisted,
			revoke: func(w *gitlabtest.Instance, _ job) { narrow(w, narrowedAgent, "[production]") }},
		{name: "environments are narrowed to what GitLab reads more widely", agent: tightenedAgent, environment: "my-review/1",
			want:   `does not satisfy the ci_access entry of agent 119`,
			revoke: func(w *gitlabtest.Instance, _ job) { narrow(w, tightenedAgent, "[review/*]") }},
	}
}

func agentOf(w *gitlabtest.Instance, id int64) *gitlabtest.Agent {
	for i := range w.Agents {
		if w.Agents[i].ID == id {
			return &w.Agents[i]
		}
	}
	return nil
}

func narrow(w *gitlabtest.Instance, agent int64, environments string) {
	agentOf(w, agent).Config = entry("path/to/shop", "{ci_job: {}}", "environments: "+environments)
}

// With jobgate's default freshFor and the recommended caches of the API server.
func TestRevocation_EndsARunningJobsRights(t *testing.T) {
	all := revocations()
	for _, r := range all {
		r.usual = presenting(t, r.agent, gitlabtest.Job{Environment: r.environment})
		r.lasting = r.usual.at(t, lasting(t), r.agent)
		r.refusedAfter = map[string]time.Duration{}
		isAllowed.of(t, r.usual.Workspace, probe)
		isAllowed.of(t, r.lasting.Workspace, probe)
	}
	before := site.GitLab.Instance()
	t.Cleanup(func() { updateGitLab(t, func(w *gitlabtest.Instance) { w.Agents = before.Agents }) })
	began := time.Now()
	updateGitLab(t, func(w *gitlabtest.Instance) {
		for _, r := range all {
			r.revoke(w, r.usual)
		}
	})
	client := apiClient(t)
	eventually.Succeeds(t, func() error {
		var errs []error
		for _, r := range all {
			errs = append(errs, r.look(client, site.API, "caches as recommended", began),
				r.look(client, lasting(t), "remembers logins for a day", began))
		}
		return errors.Join(errs...)
	})
	for _, r := range all {
		t.Run(r.name, func(t *testing.T) {
			r.want.of(t, r.lasting.Workspace, probe)
			for server, after := range r.refusedAfter {
				t.Logf("refused %.1f s later by an API server that %s", after.Seconds(), server)
			}
		})
	}
}

// apiClient asks API servers without the time that kubectl takes to start.
func apiClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: site.Plane.Roots()}, ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// look notes when the job was first refused. It fails until then.
func (r *revocation) look(client *http.Client, server *controlplane.APIServer, kind string, began time.Time) error {
	if _, known := r.refusedAfter[kind]; known {
		return nil
	}
	request, err := http.NewRequest(http.MethodGet, server.URL+"/api/v1/namespaces/shop/configmaps", nil)
	if err != nil {
		return err
	}
	token, _ := ciToken(r.agent, r.usual)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		r.refusedAfter[kind] = time.Since(began)
		return nil
	default:
		return fmt.Errorf("%s: still answered %s by the API server that %s", r.name, response.Status, kind)
	}
}

// What a job could be told at its login comes from ci_access, and from GitLab's no where that is to be explained.
func TestExplainRejections_TurnsA401IntoAReason(t *testing.T) {
	inProduction := gitlabtest.Job{Environment: "production"}
	t.Run("by default", func(t *testing.T) {
		isUnauthorized.of(t, presenting(t, stagingAgent, inProduction).Workspace, probe)
	})
	t.Run("explained", func(t *testing.T) {
		reconfigure(t, func(c *config.Configuration) { c.ExplainRejections = true })
		j := presenting(t, stagingAgent, inProduction)
		reason := outcome(fmt.Sprintf("GitLab does not let job %d of project 160 use agent 102 (path/to/agent/project:agent-102); check ci_access", j.ID))
		reason.of(t, j.Workspace, probe)
		for _, command := range []string{"get --raw /readyz", "create configmap a -n shop", "auth can-i list pods"} {
			reason.of(t, j.Workspace, command)
		}
		isUnauthorized.of(t, bearer(t, site.API, "ci:102:glcbt-64_UnknownUnknownUnknow"), probe)
	})
}

// kubectl drops the reasons of a few requests, which the page of troubleshooting has to make up for.
func TestDeniedJob_KubectlPrintsTheReason(t *testing.T) {
	denied := presenting(t, prodAgent, gitlabtest.Job{Environment: "preprod"})
	const reason outcome = `it is for environments "prod*", and the job's is "preprod"`
	impersonating := presenting(t, requiringAgent, gitlabtest.Job{})
	tests := []struct {
		name    string
		job     job
		command string
		want    outcome
	}{
		{"get", denied, "get configmaps -n shop", reason},
		{"get, cluster-scoped", denied, "get nodes", reason},
		{"create", denied, "create configmap a -n shop", reason},
		{"delete", denied, "delete configmap a -n shop", reason},
		{"scale", denied, "scale deployment web -n resource --replicas=2", reason},
		{"exec", denied, "exec web -n resource -- ls", reason},
		{"auth can-i", denied, "auth can-i list pods", reason},
		{"auth can-i --list", denied, "auth can-i --list", reason},
		{"no resource", denied, "get --raw /readyz", reason},
		{"discovery is free", denied, "api-resources", isAllowed},
		{"the version is free", denied, "version", isAllowed},
		{"auth whoami words it differently", denied, "auth whoami", withoutReason},
		{"--as before discovery", impersonating, "get configmaps -n shop --as=static-bot", withoutReason},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.want.of(t, test.job.Workspace, test.command) })
	}
}

// Neither jobgate nor its restrictions are in the way of what every user may ask about itself and the cluster.
func TestDiscovery_WorksForJobsWithAndWithoutRestrictions(t *testing.T) {
	for name, agent := range map[string]int64{"no restriction": openAgent, "namespaced restrictions": requiringAgent} {
		t.Run(name, func(t *testing.T) {
			j := presenting(t, agent, gitlabtest.Job{Environment: "staging"})
			for command, want := range map[string]string{
				"auth can-i --list -n tier": "deployments.apps/scale", "api-resources": "deployments",
				"get --raw /readyz": "ok", "auth whoami": j.username(), "version": "Server Version",
				"auth can-i list configmaps -n shop": "yes",
			} {
				if got := succeed(t, j.Workspace, strings.Fields(command)...); !strings.Contains(got, want) {
					t.Errorf("kubectl %s printed %q, without %q", command, got, want)
				}
			}
		})
	}
}
