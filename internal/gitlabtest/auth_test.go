package gitlabtest_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	unauthorized = `{"message":"401 Unauthorized"}`
	jobNotFound  = `{"message":"404 Job Not Found"}`
)

const (
	otherJob = 1002
	legacy   = "AbCdEfGhIjKlMnOpQrSt"
)

func TestJobRoutes_AcceptTheCarriersThatGitLabAccepts(t *testing.T) {
	g := startInstance(t, twoJobs())
	token, other := g.token(job), g.token(otherJob)
	tests := []struct {
		name    string
		query   url.Values
		headers []string
		status  int
		body    string // for a refusal
		job     string // for success
	}{
		{name: "header", headers: []string{"JOB-TOKEN", token}, status: 200, job: "1001"},
		{name: "header in another case", headers: []string{"job-token", token}, status: 200, job: "1001"},
		{name: "bearer", headers: []string{"Authorization", "Bearer " + token}, status: 200, job: "1001"},
		{name: "parameter job_token", query: url.Values{"job_token": {token}}, status: 200, job: "1001"},
		{name: "parameter token", query: url.Values{"token": {token}}, status: 200, job: "1001"},
		{name: "no credential", status: 401, body: unauthorized},
		{name: "empty header", headers: []string{"JOB-TOKEN", ""}, status: 401, body: unauthorized},
		{name: "two headers", headers: []string{"JOB-TOKEN", token, "JOB-TOKEN", token}, status: 401, body: unauthorized},
		{name: "unknown token", headers: []string{"JOB-TOKEN", "glcbt-64_unknown"}, status: 401, body: unauthorized},
		{name: "unknown token of another shape", headers: []string{"JOB-TOKEN", "bad_token"}, status: 401,
			body: unauthorized},
		{name: "huge token", headers: []string{"JOB-TOKEN", "glcbt-" + strings.Repeat("a", 20_000)}, status: 401,
			body: unauthorized},
		{name: "job token as access token", headers: []string{"PRIVATE-TOKEN", token}, status: 401, body: unauthorized},
		{name: "job token as parameter private_token", query: url.Values{"private_token": {token}}, status: 401,
			body: unauthorized},
		{name: "basic", headers: []string{"Authorization", basic("gitlab-ci-token", token)}, status: 401, body: unauthorized},
		{name: "parameter beats header", query: url.Values{"job_token": {token}}, headers: []string{"JOB-TOKEN", other},
			status: 200, job: "1001"},
		{name: "bad parameter beats good header", query: url.Values{"job_token": {"glcbt-64_bad"}},
			headers: []string{"JOB-TOKEN", other}, status: 401, body: unauthorized},
		{name: "job_token beats token", query: url.Values{"job_token": {token}, "token": {other}}, status: 200, job: "1001"},
		{name: "empty parameter does not count", query: url.Values{"job_token": {""}}, headers: []string{"JOB-TOKEN", other},
			status: 200, job: "1002"},
		{name: "bearer beats header", headers: []string{"Authorization", "Bearer " + token, "JOB-TOKEN", other}, status: 200,
			job: "1001"},
		{name: "bad bearer falls through", headers: []string{"Authorization", "Bearer glcbt-64_bad", "JOB-TOKEN", other},
			status: 200, job: "1002"},
		{name: "bearer of another shape is refused", headers: []string{"Authorization", "Bearer bad", "JOB-TOKEN", other},
			status: 401, body: unauthorized},
		{name: "access token", headers: []string{"PRIVATE-TOKEN", patToken}, status: 404, body: jobNotFound},
		{name: "access token as parameter", query: url.Values{"private_token": {patToken}}, status: 404, body: jobNotFound},
		{name: "access token as bearer", headers: []string{"Authorization", "Bearer " + patToken}, status: 404,
			body: jobNotFound},
		{name: "access token beats job token", headers: []string{"PRIVATE-TOKEN", patToken, "JOB-TOKEN", token}, status: 404,
			body: jobNotFound},
		{name: "unknown access token beats job token",
			headers: []string{"PRIVATE-TOKEN", "glpat-unknown", "JOB-TOKEN", token}, status: 401, body: unauthorized},
		{name: "access token without scope", headers: []string{"PRIVATE-TOKEN", "glpat-registry"}, status: 403,
			body: `{"error":"insufficient_scope",` +
				`"error_description":"The request requires higher privileges than provided by the access token.",` +
				`"scope":"api read_api"}`},
	}
	for _, route := range []string{lookup, "/job"} {
		for _, test := range tests {
			t.Run(route+" "+test.name, func(t *testing.T) {
				got := g.get(route+"?"+test.query.Encode(), test.headers...)
				if got.StatusCode != test.status {
					t.Fatalf("status %d, want %d: %s", got.StatusCode, test.status, got.body)
				}
				if test.body != "" && got.body != test.body {
					t.Errorf("body %s, want %s", got.body, test.body)
				}
				if test.job != "" && !strings.Contains(got.body, `"id":`+test.job+`,`) &&
					!strings.Contains(got.body, `"job":{"id":`+test.job+`}`) {
					t.Errorf("not job %s: %s", test.job, got.body)
				}
				if got.Header.Get("Content-Type") != "application/json" || got.Header.Get("WWW-Authenticate") != "" ||
					got.Header.Get("Job-Status") != "" {
					t.Errorf("headers %v", got.Header)
				}
			})
		}
	}
}

// twoJobs is example with one job more and an access token of another scope.
func twoJobs() gitlabtest.Instance {
	w := example(openToProject)
	w.Jobs = append(w.Jobs, gitlabtest.Job{ID: otherJob, Project: project, User: developer, Status: "running"})
	w.Tokens = append(w.Tokens, gitlabtest.AccessToken{
		Token: "glpat-registry", User: developer, Scopes: []string{"read_registry"},
	})
	return w
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestJobRoutes_ReadAFormInTheBody(t *testing.T) {
	g := startInstance(t, example(openToProject))
	r := g.request(http.MethodGet, lookup, "Content-Type", "application/x-www-form-urlencoded")
	form := url.Values{"job_token": {g.token(job)}}.Encode()
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(form)), int64(len(form))
	if got := g.do(r); got.StatusCode != http.StatusOK {
		t.Errorf("status %d: %s", got.StatusCode, got.body)
	}
}

func TestJobRoutes_JudgeTheJob(t *testing.T) {
	status := func(s string) func(*gitlabtest.Instance) {
		return func(w *gitlabtest.Instance) { w.Jobs[0].Status = s }
	}
	denied := func(reason string) func(*gitlabtest.Instance) {
		return func(w *gitlabtest.Instance) { w.Users[0].DeniedReason = reason }
	}
	tests := []struct {
		name   string
		change func(*gitlabtest.Instance)
		status int
		body   string
	}{
		{"running", status("running"), 200, ""},
		{"canceling", status("canceling"), 200, ""},
		{"canceling in a release that rejects it", func(w *gitlabtest.Instance) {
			w.Jobs[0].Status, w.Settings.RejectsCanceling = "canceling", true
		}, 401, unauthorized},
		{"created", status("created"), 401, unauthorized},
		{"pending", status("pending"), 401, unauthorized},
		{"manual", status("manual"), 401, unauthorized},
		{"scheduled", status("scheduled"), 401, unauthorized},
		{"preparing", status("preparing"), 401, unauthorized},
		{"waiting_for_resource", status("waiting_for_resource"), 401, unauthorized},
		{"waiting_for_callback", status("waiting_for_callback"), 401, unauthorized},
		{"skipped", status("skipped"), 401, unauthorized},
		{"success", status("success"), 401, unauthorized},
		{"failed", status("failed"), 401, unauthorized},
		{"canceled", status("canceled"), 401, unauthorized},
		{"erased", func(w *gitlabtest.Instance) { w.Jobs[0].Erased = true }, 401, unauthorized},
		{"project pending deletion", func(w *gitlabtest.Instance) { w.Projects[0].PendingDelete = true }, 401, unauthorized},
		{"without user", func(w *gitlabtest.Instance) { w.Jobs[0].User = 0 }, 401, unauthorized},
		{"blocked user", denied(gitlabtest.DeniedBlocked), 403,
			`{"message":"403 Forbidden - Your account has been blocked."}`},
		{"internal user", denied(gitlabtest.DeniedInternal), 403,
			`{"message":"403 Forbidden - This action cannot be performed by internal users"}`},
		{"user awaiting approval", denied(gitlabtest.DeniedPendingApproval), 403,
			`{"message":"403 Forbidden - Your account is pending approval from your administrator and hence blocked."}`},
		{"ended job of a blocked user", func(w *gitlabtest.Instance) {
			w.Jobs[0].Status, w.Users[0].DeniedReason = "failed", gitlabtest.DeniedBlocked
		}, 401, unauthorized},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example(openToProject)
			test.change(&w)
			g := startInstance(t, w)
			for _, carrier := range [][]string{{"JOB-TOKEN", g.token(job)}, {"Authorization", "Bearer " + g.token(job)}} {
				got := g.get(lookup, carrier...)
				if got.StatusCode != test.status || test.body != "" && got.body != test.body {
					t.Errorf("as %s: %d %s, want %d %s", carrier[0], got.StatusCode, got.body, test.status, test.body)
				}
			}
		})
	}
}

func TestJobRoutes_JudgeTheTokensShape(t *testing.T) {
	tests := []struct {
		name     string
		format   string
		token    string
		anyShape bool
		status   int
	}{
		{"database", "database", "", false, 200},
		{"legacy in a current release", "legacy", "", false, 401},
		{"legacy in an old release", "legacy", "", true, 200},
		{"partition in a current release", "partition", "", false, 401},
		{"partition in an old release", "partition", "", true, 200},
		{"a JWT", "jwt", "", false, 200},
		{"a JWT in an old release", "jwt", "", true, 200},
		{"given, without prefix", "", legacy, false, 401},
		{"given, without prefix, in an old release", "", legacy, true, 200},
		{"given", "", "glcbt-64_" + legacy, false, 200},
		{"given, far too long", "", "glcbt-64_" + strings.Repeat("a", 20_000), false, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example(openToProject)
			w.Jobs[0].TokenFormat, w.Jobs[0].Token = test.format, test.token
			w.Settings.AcceptsAnyTokenShape = test.anyShape
			if got := startInstance(t, w).getAs(job, lookup); got.StatusCode != test.status {
				t.Errorf("status %d, want %d", got.StatusCode, test.status)
			}
		})
	}
}

func TestUnknownRoutes_AreNotFoundAsGrapeHasIt(t *testing.T) {
	g := start(t, gitlabtest.Options{Instance: example(openToProject), RelativeURLRoot: "/gitlab"})
	tests := []struct {
		name, method, url string
		status            int
		body              string // "" for a web page
	}{
		{"unknown path", "GET", g.URL() + "/api/v4/nothing", 404, `{"error":"404 Not Found"}`},
		{"unescaped slash in a branch", "GET", g.URL() + "/api/v4/projects/150/repository/branches/feature/x", 404,
			`{"error":"404 Not Found"}`},
		{"unknown method", "POST", g.URL() + "/api/v4/job", 405, `{"error":"405 Not Allowed"}`},
		{"without the relative root", "GET", strings.TrimSuffix(g.URL(), "/gitlab") + "/api/v4/job", 404, ""},
		{"beside the API", "GET", g.URL() + "/group1/agents", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := g.do(r)
			if got.StatusCode != test.status {
				t.Errorf("status %d, want %d", got.StatusCode, test.status)
			}
			if test.body == "" {
				if got.Header.Get("Content-Type") != "text/html; charset=utf-8" {
					t.Errorf("content type %s", got.Header.Get("Content-Type"))
				}
			} else if got.body != test.body {
				t.Errorf("body %s, want %s", got.body, test.body)
			}
		})
	}
}

func TestJobRoutes_AnswerHEADWithoutABody(t *testing.T) {
	g := startInstance(t, example(openToProject))
	got := g.do(g.request(http.MethodHead, lookup, "JOB-TOKEN", g.token(job)))
	if got.StatusCode != http.StatusOK || got.body != "" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %q, %s", got.Status, got.body, got.Header)
	}
}

func TestServer_AnswersUnderARelativeURLRoot(t *testing.T) {
	g := start(t, gitlabtest.Options{Instance: example(openToProject), RelativeURLRoot: "/gitlab/"})
	if !strings.HasSuffix(g.URL(), "/gitlab") {
		t.Errorf("URL %s", g.URL())
	}
	if got := g.getAs(job, lookup); got.StatusCode != http.StatusOK {
		t.Errorf("status %d", got.StatusCode)
	}
}
