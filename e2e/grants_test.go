package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// No agent is registered for the cluster. The job writes its kubeconfig, deploys, and is refused when it has ended.
func TestGrants_DeployWithoutAnAgent(t *testing.T) {
	g := grantsOnly(t)
	const kubeconfig = `jobgate kubeconfig --cluster=` + grantCluster + ` --server="$JOBGATE_URL" --ca="$JOBGATE_CA_FILE"`
	rows := []struct {
		name, script string
		isIDToken    bool
	}{
		{name: "job token", script: kubeconfig},
		{name: "ID token", script: kubeconfig + " --id-token-variable=PROD_TOKEN", isIDToken: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j, script := g.shell(t, released()), row.script
			if row.isIDToken {
				unwell(t, gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: http.StatusNotFound})
				script = "export PROD_TOKEN=" + idToken(t, j) + "\n" + script
			}
			name := fmt.Sprintf("web-%d", j.ID)
			if result := j.shell(t, script+"\nkubectl create deployment "+name+" --image=nginx -n shop"); !result.OK() {
				t.Fatalf("the job did not deploy: %s", result)
			}
			user := whoami(t, j.Workspace)
			want := authenticationv1.UserInfo{Username: j.username(), Groups: user.Groups, Extra: j.grantExtras("production")}
			credential := user.Extra[credentialID]
			if row.isIDToken != (len(credential) == 1) {
				t.Errorf("the extra %s is %v", credentialID, credential)
			}
			if row.isIDToken {
				want.Extra[credentialID] = credential
			}
			if diff := cmp.Diff(want, user); diff != "" {
				t.Errorf("kubectl auth whoami (-want +got):\n%s", diff)
			}
			eventually.Succeeds(t, func() error { return checkAudited(g.API, j, want) })
			isForbidden.of(t, j.Workspace, "get --raw /api/v1/namespaces/kube-system/secrets")

			j.end(t)
			eventually.Succeeds(t, func() error {
				result := try(t, j.Workspace, "create", "configmap", name, "-n", "shop", "--dry-run=server")
				if result.OK() {
					return errors.New("the job has ended and may still write")
				}
				return nil
			})
			succeed(t, admin(t), "delete", "deployment", name, "-n", "shop")
		})
	}
}

const credentialID = "authentication.kubernetes.io/credential-id"

// grantExtras are the extras of a job's identity through a grant, with the facts that the rules of grantsOnly need.
func (j job) grantExtras(grant string) map[string]authenticationv1.ExtraValue {
	extras := j.extras(0)
	delete(extras, "agent.gitlab.com/id")
	delete(extras, "agent.gitlab.com/config_project_id")
	tier := map[string]string{"production": "production", "staging": "staging"}[j.Environment]
	for name, value := range map[string]string{
		"agent.gitlab.com/environment_slug": j.Environment, "agent.gitlab.com/environment_tier": tier,
		"jobgate.io/cluster": grantCluster, "jobgate.io/grant": grant,
		"jobgate.io/ref": j.Pipeline.Ref, "jobgate.io/ref-type": "tag", "jobgate.io/ref-protected": "true",
	} {
		extras[name] = authenticationv1.ExtraValue{value}
	}
	return extras
}

// Production from tags and staging from main, in kubectl's words.
func TestGrants_ProductionFromTagsAndStagingFromMain(t *testing.T) {
	g := grantsOnly(t)
	shop := func(environment string, from gitlabtest.Pipeline) gitlabtest.Job {
		return gitlabtest.Job{Project: shopProject, Environment: environment, Pipeline: from}
	}
	rows := []struct {
		name string
		job  gitlabtest.Job
		want outcome
	}{
		{name: "production from a tag", job: released(), want: isAllowed},
		{name: "staging from main", job: staged(), want: isAllowed},
		{name: "production from main", job: shop("production", onMain), want: `grant "production": `},
		{name: "production from a tag that is not protected", want: `grant "production": `,
			job: shop("production", gitlabtest.Pipeline{Ref: "nightly", Kind: "tag"})},
		{name: "staging from another branch", job: shop("staging", onFeature), want: `grant "staging": `},
		{name: "staging from a tag that is called main", want: `grant "staging": it must run for one of "branch", and the job runs for a tag`,
			job: shop("staging", gitlabtest.Pipeline{Ref: "main", Kind: "tag"})},
		{name: "staging from a merge request", want: "the job runs in a merge request's pipeline, which matches none",
			job: shop("staging", gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request", SourceBranch: "main"})},
		{name: "production from the merge request of a fork", want: "a merge request's pipeline, which never counts as protected",
			job: shop("production", gitlabtest.Pipeline{
				Ref: "refs/merge-requests/1/head", Kind: "merge_request", SourceBranch: "main", SourceProject: project})},
		{name: "an environment that is only called like production's", job: shop("preprod", onTag), want: `grant "production": `},
		{name: "no environment", job: shop("", onMain), want: "the job has no environment"},
	}
	for _, login := range grantLogins() {
		for _, row := range rows {
			t.Run(login.name+", "+row.name, func(t *testing.T) {
				j := runJob(t, row.job)
				row.want.of(t, bearer(t, g.API, login.token(t, j)), probe)
			})
		}
		t.Run(login.name+", a project that no grant names", func(t *testing.T) {
			j := runJob(t, gitlabtest.Job{Project: projectOne, Environment: "production", Pipeline: onTag})
			isUnauthorized.of(t, bearer(t, g.API, login.token(t, j)), probe)
		})
	}
}

// A restriction in report mode refuses nothing, counts each request and writes one line for each job.
func TestGrants_RestrictionInReportMode(t *testing.T) {
	g := grantsOnly(t)
	j := runJob(t, staged())
	w := bearer(t, g.API, idToken(t, j))
	before, err := g.first.Metric(t.Context(), "jobgate_restriction_would_deny_total", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		succeed(t, w, "delete", "configmap", fmt.Sprintf("none-%d", i), "-n", "shop", "--ignore-not-found")
	}
	wantMetric(t, g.first, before+2, "jobgate_restriction_would_deny_total", map[string]string{"restriction": "trial"})
	if lines := logged(t, g.first, `"Request would be denied"`, fmt.Sprint(j.ID)); lines != 1 {
		t.Errorf("there are %d lines about the job, want 1", lines)
	}
}

// An administrator blocks a project while its job runs: the API server still knows the job, and may repeat an answer for a
// second.
func TestGrants_ProjectBlockedWhileItsJobRuns(t *testing.T) {
	g := grantsOnly(t)
	for _, login := range grantLogins() {
		t.Run(login.name, func(t *testing.T) {
			j := runJob(t, staged())
			token := login.token(t, j)
			w := bearer(t, g.lasting, token)
			isAllowed.of(t, w, probe)
			g.both(t, func(c *config.Configuration) { c.Blocked.Projects = []int64{shopProject} })
			outcome("project 160 is blocked in this cluster (blocked.projects)").soon(t, w, probe)
			isUnauthorized.of(t, bearer(t, g.API, login.token(t, runJob(t, staged()))), probe)
			g.both(t, func(c *config.Configuration) { c.Blocked.Projects = nil })
			isAllowed.soon(t, w, probe)
		})
	}
}

// The job logs in through one jobgate. The other one has never seen its token, and still notices its end in time: it asks
// GitLab by the job's id.
func TestGrants_AnotherJobgateNoticesTheEnd(t *testing.T) {
	g := grantsOnly(t)
	client := apiClient(t)
	for _, login := range grantLogins() {
		t.Run(login.name, func(t *testing.T) {
			j := runJob(t, staged())
			token := login.token(t, j)
			w := bearer(t, g.lasting, token)
			isAllowed.of(t, w, probe)
			j.end(t)
			began := time.Now()
			refused := eventuallyRefused(t, client, g.lasting.URL, token)
			// The API server itself repeats an answer for up to a second.
			if after := refused.Sub(began); after > grantFreshFor+2*time.Second {
				t.Errorf("refused %s after the job's end", after)
			}
			ended(j).of(t, w, probe)
		})
	}
}

// eventuallyRefused asks until the answer is a 403, and returns when the question was put that had it.
func eventuallyRefused(t *testing.T, client *http.Client, server, token string) (asked time.Time) {
	t.Helper()
	eventually.True(t, "the API server answers 403", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server+strings.TrimPrefix(probe, "get --raw "), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		asked = time.Now()
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusForbidden
	})
	return asked
}

// While GitLab is away, running jobs of both kinds go on, and no new job logs in: neither could be found to run.
func TestGrants_GitLabOutage(t *testing.T) {
	g := grantsOnly(t)
	running := map[string]job{}
	for _, login := range grantLogins() {
		j := runJob(t, staged())
		j.Workspace = bearer(t, g.API, login.token(t, j))
		isAllowed.of(t, j.Workspace, probe)
		running[login.name] = j
	}
	stale := func() float64 {
		count, err := g.first.Metric(t.Context(), "jobgate_job_lookups_total", map[string]string{"result": "stale"})
		if err != nil {
			t.Fatal(err)
		}
		return count
	}
	recoverNow := unwell(t, gitlabIsDown)
	for name, j := range running {
		before := stale()
		eventually.Succeeds(t, func() error {
			if err := isAllowed.check(t, j.Workspace, probe); err != nil {
				t.Fatalf("a running job with an %s: %v", name, err)
			}
			if stale() == before {
				return errors.New("GitLab's answer is still fresh")
			}
			return nil
		})
	}
	late := map[string]job{}
	for _, login := range grantLogins() {
		j := runJob(t, staged())
		j.Workspace = bearer(t, g.API, login.token(t, j))
		isUnauthorized.of(t, j.Workspace, probe)
		late[login.name] = j
	}
	recoverNow()
	for _, j := range late {
		isAllowed.soon(t, j.Workspace, probe)
	}
}

// Without liveness GitLab need not be asked: a new job logs in with an ID token while GitLab is away.
func TestGrants_GitLabOutageWithoutLiveness(t *testing.T) {
	g := grantsOnly(t)
	g.both(t, func(c *config.Configuration) { c.IDTokens.RequireLiveness = false })
	isAllowed.of(t, bearer(t, g.API, idToken(t, runJob(t, staged()))), probe) // GitLab's keys and the project's groups are known
	unwell(t, gitlabIsDown)
	j := runJob(t, staged())
	isAllowed.of(t, bearer(t, g.API, idToken(t, j)), probe)
	isUnauthorized.of(t, bearer(t, g.API, "ci:"+grantCluster+":"+j.Token), probe)
}
