package gitlabtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	projectNotFound = `{"message":"404 Project Not Found"}`
	recordNotFound  = `{"message":"404 Not found"}`
	jobPath         = "/projects/150/jobs/1001"
	groupsPath      = "/projects/150/groups"
	protectedPath   = "/projects/150/protected_environments"
	branchesPath    = "/projects/150/repository/branches"
	environmentPath = "/projects/150/environments"
	tagsPath        = "/projects/150/repository/tags"
)

// names are the names in a list, in its order.
func names(t *testing.T, r reply) []string {
	t.Helper()
	var items []struct{ Name string }
	if r.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", r.StatusCode, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &items); err != nil {
		t.Fatalf("reading %s: %v", r.body, err)
	}
	found := []string{}
	for _, item := range items {
		found = append(found, item.Name)
	}
	return found
}

func TestProjectRoutes_JudgeTheCaller(t *testing.T) {
	const (
		asJob       = "job token"
		asAccess    = "access token"
		asAnonymous = "anonymous"
		asWrong     = "wrong scope"
		asBad       = "unknown access token"
		asDead      = "dead job token"
		asBearer    = "job token as bearer"
		asOld       = "expired access token"
		asGone      = "revoked access token"
	)
	access := func(level int) func(*gitlabtest.Instance) {
		return func(w *gitlabtest.Instance) { w.Users[0].Access = map[int64]int{project: level} }
	}
	public := func(w *gitlabtest.Instance) { w.Projects[0].Public, w.Users[0].Access = true, nil }
	const forbidden = `{"message":"403 Forbidden"}`
	tests := []struct {
		name, path, as string
		change         func(*gitlabtest.Instance)
		status         int
		body           string
	}{
		{"environments", environmentPath, asJob, nil, 200, ""},
		{"environments", environmentPath, asAccess, nil, 200, ""},
		{"environments", environmentPath, asAnonymous, nil, 401, unauthorized},
		{"environments", environmentPath, asDead, nil, 401, unauthorized},
		{"environments", environmentPath, asBad, nil, 401, unauthorized},
		{"environments", environmentPath, asWrong, nil, 403, ""},
		{"environments, guest", environmentPath, asJob, access(10), 403, forbidden},
		{"environments, reporter", environmentPath, asJob, access(20), 200, ""},
		{"environments, no member", environmentPath, asJob, access(0), 404, projectNotFound},
		{"environments, public project", environmentPath, asJob, public, 200, ""},
		{"environments, public project", environmentPath, asAnonymous, public, 401, unauthorized},
		{"environments, other project", "/projects/7/environments", asJob, nil, 404, projectNotFound},
		{"environments, other public project", "/projects/7/environments", asJob,
			func(w *gitlabtest.Instance) { w.Projects[1].Public = true }, 404, projectNotFound},
		{"environments, other public project", "/projects/7/environments", asAccess,
			func(w *gitlabtest.Instance) { w.Projects[1].Public = true }, 200, ""},
		{"environments, no such project", "/projects/1/environments", asJob, nil, 404, projectNotFound},
		{"environments, by path", "/projects/group1%2Fgroup1-1%2Fproject1/environments", asJob, nil, 200, ""},
		{"environments, by path in another case", "/projects/Group1%2Fgroup1-1%2FProject1/environments", asJob, nil, 200, ""},
		{"environments, fine-grained permissions", environmentPath, asJob,
			func(w *gitlabtest.Instance) { w.Settings.RefusesEnvironmentsToJobTokens = true }, 403,
			`{"message":"403 Forbidden - Insufficient permissions to access this resource in project project1. ` +
				`The following token permission is required: read_environments."}`},
		{"environments, fine-grained permissions", environmentPath, asAccess,
			func(w *gitlabtest.Instance) { w.Settings.RefusesEnvironmentsToJobTokens = true }, 200, ""},
		{"environments, blocked user", environmentPath, asAccess,
			func(w *gitlabtest.Instance) { w.Users[0].DeniedReason = gitlabtest.DeniedBlocked }, 403,
			`{"message":"403 Forbidden - Your account has been blocked."}`},
		{"environments, project pending deletion", environmentPath, asAccess,
			func(w *gitlabtest.Instance) { w.Projects[0].PendingDelete = true }, 404, projectNotFound},

		{"environments", environmentPath, asOld, nil, 401, `{"error":"invalid_token","error_description":` +
			`"Token is expired. You can either do re-authorization or token refresh."}`},
		{"environments", environmentPath, asGone, nil, 401, `{"error":"invalid_token","error_description":` +
			`"Token was revoked. You have to re-authorize from the user."}`},

		{"job", jobPath, asAccess, nil, 200, ""},
		{"job", jobPath, asJob, nil, 401, unauthorized},
		{"job", jobPath, asBearer, nil, 401, unauthorized},
		{"job", jobPath, asAnonymous, nil, 401, unauthorized},
		{"job", jobPath, asWrong, nil, 403, ""},
		{"job, guest", jobPath, asAccess, access(10), 200, ""},
		{"job, guest, private pipelines", jobPath, asAccess, func(w *gitlabtest.Instance) {
			w.Projects[0].PrivatePipelines, w.Users[0].Access = true, map[int64]int{project: 10}
		}, 403, forbidden},
		{"job, reporter, private pipelines", jobPath, asAccess, func(w *gitlabtest.Instance) {
			w.Projects[0].PrivatePipelines, w.Users[0].Access = true, map[int64]int{project: 20}
		}, 200, ""},
		{"job, no member", jobPath, asAccess, access(0), 404, projectNotFound},
		{"job, project pending deletion", jobPath, asAccess,
			func(w *gitlabtest.Instance) { w.Projects[0].PendingDelete = true }, 404, projectNotFound},
		{"job that is not there", "/projects/150/jobs/77", asAccess, nil, 404, recordNotFound},
		{"job of another project", "/projects/7/jobs/1001", asAccess,
			func(w *gitlabtest.Instance) { w.Users[0].Access[agentProject] = 30 }, 404, recordNotFound},
		{"job by name", "/projects/150/jobs/deploy", asAccess, nil, 400, `{"error":"job_id is invalid"}`},

		{"groups", groupsPath, asAccess, nil, 200, ""},
		{"groups", groupsPath, asJob, nil, 404, projectNotFound},
		{"groups", groupsPath, asAnonymous, nil, 404, projectNotFound},
		{"groups, guest", groupsPath, asAccess, access(10), 200, ""},
		{"groups, no member", groupsPath, asAccess, access(0), 404, projectNotFound},
		{"groups, public project", groupsPath, asAnonymous, public, 200, ""},

		{"protected environment", protectedPath + "/prod", asAccess, access(40), 200, ""},
		{"protected environment, maintainer's job", protectedPath + "/prod", asJob, access(40), 404, projectNotFound},
		{"protected environment, public project", protectedPath + "/prod", asAnonymous, public, 401, unauthorized},
		{"protected environment with a slash", protectedPath + "/eu%2Fprod", asAccess, access(40), 200, ""},
		{"protected environment that is not there", protectedPath + "/review%2F1", asAccess, access(40), 404,
			recordNotFound},
		{"protected environment, developer", protectedPath + "/prod", asAccess, nil, 403, forbidden},
		{"protected environment, community edition", protectedPath + "/prod", asAccess,
			func(w *gitlabtest.Instance) { w.Settings.Licensed = false }, 404, `{"error":"404 Not Found"}`},

		{"branches", branchesPath, asJob, nil, 200, ""},
		{"branches", branchesPath, asAccess, nil, 200, ""},
		{"branches", branchesPath, asBearer, nil, 200, ""},
		{"branches", branchesPath, asAnonymous, nil, 404, projectNotFound},
		{"branches, public project", branchesPath, asAnonymous, public, 200, ""},
		{"branches, guest", branchesPath, asJob, access(10), 403, forbidden},
		{"branches, other project", "/projects/7/repository/branches", asJob, nil, 404, projectNotFound},
		{"branches, old release", branchesPath, asJob,
			func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true }, 404, projectNotFound},
		{"branches, old release", branchesPath, asAccess,
			func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true }, 200, ""},

		{"branch", branchesPath + "/main", asAccess, nil, 200, ""},
		{"branch", branchesPath + "/main", asJob, nil, 404, projectNotFound},
		{"branch", branchesPath + "/main", asBearer, nil, 404, projectNotFound},
		{"branch, public project", branchesPath + "/main", asJob, public, 200, ""},
		{"branch with a slash", branchesPath + "/feature%2Fx", asAccess, nil, 200, ""},
		{"branch that is not there", branchesPath + "/gone", asAccess, nil, 404, `{"message":"404 Branch Not Found"}`},
		{"branch of another project", "/projects/7/repository/branches/main", asAccess, nil, 404, projectNotFound},
		{"branch, unknown access token", branchesPath + "/main", asBad, nil, 401, unauthorized},

		{"tags", tagsPath, asJob, nil, 200, ""},
		{"tags", tagsPath, asAnonymous, nil, 404, projectNotFound},
		{"tags, guest", tagsPath, asJob, access(10), 403, forbidden},
		{"tags, old release", tagsPath, asJob,
			func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true }, 404, projectNotFound},
		{"tags, old release", tagsPath, asAccess,
			func(w *gitlabtest.Instance) { w.Settings.RefusesBranchesToJobTokens = true }, 200, ""},

		{"tag", tagsPath + "/v1.0", asAccess, nil, 200, ""},
		{"tag", tagsPath + "/v1.0", asJob, nil, 404, projectNotFound},
		{"tag that is not there", tagsPath + "/v9", asAccess, nil, 404, `{"message":"404 Tag Not Found"}`},
		{"tag, guest", tagsPath + "/v1.0", asAccess, access(10), 403, forbidden},
	}
	for _, test := range tests {
		t.Run(test.name+" as "+test.as, func(t *testing.T) {
			w := example("")
			w.Jobs = append(w.Jobs, gitlabtest.Job{ID: otherJob, Project: project, User: developer, Status: "success"})
			w.Projects[0].ProtectedEnvironments = []string{"prod", "eu/prod"}
			api := []string{"read_api"}
			w.Tokens = append(w.Tokens,
				gitlabtest.AccessToken{Token: "glpat-registry", User: developer, Scopes: []string{"read_registry"}},
				gitlabtest.AccessToken{Token: "glpat-old", User: developer, Scopes: api, Expires: time.Now().Add(-time.Second)},
				gitlabtest.AccessToken{Token: "glpat-gone", User: developer, Scopes: api, Revoked: true},
			)
			if test.change != nil {
				test.change(&w)
			}
			g := startInstance(t, w)
			headers := map[string][]string{
				asJob:    {"JOB-TOKEN", g.token(job)},
				asDead:   {"JOB-TOKEN", g.token(otherJob)},
				asBearer: {"Authorization", "Bearer " + g.token(job)},
				asAccess: {"PRIVATE-TOKEN", patToken},
				asWrong:  {"PRIVATE-TOKEN", "glpat-registry"},
				asBad:    {"PRIVATE-TOKEN", "glpat-unknown"},
				asOld:    {"PRIVATE-TOKEN", "glpat-old"},
				asGone:   {"PRIVATE-TOKEN", "glpat-gone"},
			}[test.as]
			got := g.get(test.path, headers...)
			if got.StatusCode != test.status || test.body != "" && got.body != test.body {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, test.status, test.body)
			}
		})
	}
}

func TestEnvironments_FilterAndAnswerTheEntity(t *testing.T) {
	w := example("")
	w.Projects[0].Environments = []gitlabtest.Environment{
		{ID: 14, Name: "staging"},
		{ID: 13, Name: "review/b", State: "stopped"},
		{ID: 12, Name: "Review/a"},
		{ID: 11, Name: "eu/prod"},
	}
	g := startInstance(t, w)
	tests := []struct {
		name, query string
		status      int
		want        []string
	}{
		{"all, by id", "", 200, []string{"eu/prod", "Review/a", "review/b", "staging"}},
		{"by name", "name=eu%2Fprod", 200, []string{"eu/prod"}},
		{"by name, which is exact", "name=eu", 200, []string{}},
		{"by the beginning in any case", "search=review", 200, []string{"Review/a", "review/b"}},
		{"not by a part", "search=prod", 200, []string{}},
		{"too short", "search=eu", 400, nil},
		{"name and search", "name=staging&search=staging", 400, nil},
		{"by state", "states=stopped", 200, []string{"review/b"}},
		{"by state and beginning", "states=available&search=review", 200, []string{"Review/a"}},
		{"by an unknown state", "states=gone", 400, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := g.getAs(job, environmentPath+"?"+test.query)
			if got.StatusCode != test.status {
				t.Fatalf("status %d, want %d: %s", got.StatusCode, test.status, got.body)
			}
			if test.status != http.StatusOK {
				return
			}
			if diff := cmp.Diff(test.want, names(t, got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	want := reply{body: `[{
		"id": 11, "name": "eu/prod", "slug": "eu-prod-lb01nz", "external_url": "", "state": "available",
		"tier": "production", "created_at": "2024-01-02T03:04:05.678Z", "updated_at": "2024-01-02T03:04:05.678Z"
	}]`}
	if diff := cmp.Diff(want.decoded(t), g.getAs(job, environmentPath+"?name=eu/prod").decoded(t)); diff != "" {
		t.Error(diff)
	}
}

func TestBranches_SearchAndAnswerTheEntity(t *testing.T) {
	w := example("")
	w.Projects[0].Branches = []string{"stable", "main", "feature/x", "release-1", "Maintenance"}
	g := startInstance(t, w)
	for query, want := range map[string][]string{
		"":                  {"Maintenance", "feature/x", "main", "release-1", "stable"},
		"search=main":       {"Maintenance", "main"},
		"search=%5Efeature": {"feature/x"},
		"search=able$":      {"stable"},
		"search=r*-1":       {"release-1"},
		"search=nothing":    {},
	} {
		t.Run("query "+query, func(t *testing.T) {
			if diff := cmp.Diff(want, names(t, g.getAs(job, branchesPath+"?"+query))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, protected := range map[string]bool{"main": true, "release-1": true, "feature/x": false} {
		path := branchesPath + "/" + strings.ReplaceAll(name, "/", "%2F")
		branch := g.get(path, "PRIVATE-TOKEN", patToken).decoded(t).(map[string]any)
		got := []any{branch["name"], branch["protected"], branch["default"], branch["web_url"]}
		want := []any{name, protected, name == "main", g.URL() + "/group1/group1-1/project1/-/tree/" + name}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTags_SayWhetherTheyAreProtected(t *testing.T) {
	w := example("")
	w.Users[0].Access[project] = 40
	g := startInstance(t, w)
	for name, protected := range map[string]bool{"v1.0": true, "nightly": false} {
		tag := g.get(tagsPath+"/"+name, "PRIVATE-TOKEN", patToken).decoded(t).(map[string]any)
		if tag["name"] != name || tag["protected"] != protected {
			t.Errorf("%s: %v", name, tag)
		}
	}
	for query, want := range map[string][]string{"": {"nightly", "v1.0"}, "?search=%5Ev1.0": {"v1.0"}, "?search=none": {}} {
		if diff := cmp.Diff(want, names(t, g.getAs(job, tagsPath+query))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestNames_MayHoldEveryCharacterOfAURL(t *testing.T) {
	for escaped, name := range map[string]string{
		"feature%2Fx": "feature/x", "50%25": "50%", "a%252Fb": "a%2Fb", "h%C3%A4ndler": "händler", "a+b": "a+b",
		"a%20b": "a b",
	} {
		t.Run(name, func(t *testing.T) {
			w := example("")
			w.Projects[0].Branches = []string{name}
			got := startInstance(t, w).get(branchesPath+"/"+escaped, "PRIVATE-TOKEN", patToken)
			if got.StatusCode != http.StatusOK {
				t.Fatalf("status %d", got.StatusCode)
			}
			if found := got.decoded(t).(map[string]any)["name"]; found != name {
				t.Errorf("branch %v", found)
			}
		})
	}
}
