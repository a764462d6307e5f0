package gitlabtest_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestProjectJob_SaysTheStatus(t *testing.T) {
	type status struct {
		Status        string
		FinishedAt    *string `json:"finished_at"`
		ErasedAt      *string `json:"erased_at"`
		FailureReason string  `json:"failure_reason"`
		User          *struct{ State string }
	}
	tests := []struct {
		name             string
		change           func(*gitlabtest.Instance)
		status, user     string
		finished, erased bool
		reason           string
	}{
		{name: "running", change: func(*gitlabtest.Instance) {}, status: "running", user: "active"},
		{name: "canceling", change: func(w *gitlabtest.Instance) { w.Job(job).Status = "canceling" },
			status: "canceling", user: "active"},
		{name: "canceled", change: func(w *gitlabtest.Instance) { w.Job(job).Status = "canceled" },
			status: "canceled", user: "active", finished: true},
		{name: "failed", change: func(w *gitlabtest.Instance) { w.Job(job).Status = "failed" },
			status: "failed", user: "active", finished: true, reason: "script_failure"},
		{name: "erased", change: func(w *gitlabtest.Instance) { w.Job(job).Status, w.Job(job).Erased = "success", true },
			status: "success", user: "active", finished: true, erased: true},
		{name: "without a user", change: func(w *gitlabtest.Instance) { w.Job(job).User = 0 }, status: "running"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := startInstance(t, example(""))
			g.mustUpdate(test.change)
			r := g.get(jobPath, "PRIVATE-TOKEN", patToken)
			var got status
			if err := json.Unmarshal([]byte(r.body), &got); err != nil {
				t.Fatalf("%s: %v", r.body, err)
			}
			user := ""
			if got.User != nil {
				user = got.User.State
			}
			if got.Status != test.status || user != test.user || got.FailureReason != test.reason ||
				(got.FinishedAt != nil) != test.finished || (got.ErasedAt != nil) != test.erased {
				t.Errorf("got %s", r.body)
			}
		})
	}
}

func TestProjectJob_ChangesWithTheNextRequest(t *testing.T) {
	g := startInstance(t, example(""))
	if got := g.get(jobPath, "PRIVATE-TOKEN", patToken); got.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", got.StatusCode, got.body)
	}
	g.mustUpdate(func(w *gitlabtest.Instance) { w.User(developer).DeniedReason = gitlabtest.DeniedBlocked })
	got := g.get(jobPath, "PRIVATE-TOKEN", patToken)
	if got.StatusCode != http.StatusForbidden || got.body != `{"message":"403 Forbidden - Your account has been blocked."}` {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestProjectGroups_AreOrderedByIDFromTheHighest(t *testing.T) {
	w := example("")
	w.Groups = []gitlabtest.Group{
		{ID: 90, Path: "top"}, {ID: 12, Parent: 90, Path: "top/middle"}, {ID: 50, Parent: 12, Path: "top/middle/low"},
	}
	w.Projects = []gitlabtest.Project{
		{ID: project, Group: 50, Path: "top/middle/low/web"},
		{ID: agentProject, Path: "jdoe/agents"},
	}
	w.Users[0].Access[agentProject] = 50
	g := startInstance(t, w)
	group := func(id, path, name, full string) map[string]any {
		return map[string]any{
			"id": json.Number(id), "full_path": path, "name": name, "full_name": full, "avatar_url": nil,
			"web_url": g.URL() + "/groups/" + path,
		}
	}
	tests := []struct {
		name, path string
		want       []any
	}{
		{name: "nested", path: groupsPath, want: []any{
			group("90", "top", "top", "top"),
			group("50", "top/middle/low", "low", "top / middle / low"),
			group("12", "top/middle", "middle", "top / middle"),
		}},
		{name: "second page of one", path: groupsPath + "?per_page=1&page=2", want: []any{
			group("50", "top/middle/low", "low", "top / middle / low"),
		}},
		{name: "personal project", path: "/projects/7/groups", want: []any{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := g.get(test.path, "PRIVATE-TOKEN", patToken).decoded(t)
			if diff := cmp.Diff(any(test.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestProtectedEnvironment_AnswersTheEntity(t *testing.T) {
	w := example("")
	w.Projects[0].ProtectedEnvironments = []string{"prod"}
	w.Users[0].Access[project] = 40
	g := startInstance(t, w)
	want := map[string]any{
		"name": "prod", "required_approval_count": json.Number("0"), "approval_rules": []any{},
		"deploy_access_levels": []any{map[string]any{
			"access_level": json.Number("40"), "access_level_description": "Maintainers", "user_id": nil, "group_id": nil,
		}},
	}
	got := g.get(protectedPath+"/prod", "PRIVATE-TOKEN", patToken).decoded(t)
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestAccessToken_ExpiredTellsItInAHeader(t *testing.T) {
	w := example("")
	w.Tokens[0].Revoked = true
	got := startInstance(t, w).get(jobPath, "PRIVATE-TOKEN", patToken)
	const want = `Bearer realm="Protected by OAuth 2.0", error="invalid_token", ` +
		`error_description="Token was revoked. You have to re-authorize from the user."`
	if header := got.Header.Get("WWW-Authenticate"); header != want {
		t.Errorf("%s, want %s", header, want)
	}
}
