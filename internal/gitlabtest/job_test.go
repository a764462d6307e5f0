package gitlabtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestJob_AnswersTheWholeEntity(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 10, 0, time.UTC)
	g := start(t, gitlabtest.Options{Instance: example(""), Now: func() time.Time { return begin }})
	const sha = "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Jobs[0].Name, w.Jobs[0].Pipeline.SHA = "deploy-prod", sha })
	want := reply{body: strings.NewReplacer("URL", g.URL(), "SHA", sha).Replace(`{
		"id": 1001, "status": "running", "stage": "deploy", "name": "deploy-prod",
		"ref": "main", "tag": false, "coverage": null, "allow_failure": false,
		"created_at": "2026-03-01T12:00:06.400Z", "started_at": "2026-03-01T12:00:06.800Z",
		"finished_at": null, "erased_at": null, "duration": 3.2, "queued_duration": 0.4,
		"user": {"id": 9, "username": "jdoe", "name": "jdoe", "state": "active", "web_url": "URL/jdoe"},
		"commit": {"id": "SHA", "short_id": "0ff3ae19", "title": "A commit"},
		"pipeline": {
			"id": 501, "iid": 1, "project_id": 150, "sha": "SHA", "ref": "main", "status": "running", "source": "push",
			"created_at": "2026-03-01T12:00:06.400Z", "updated_at": "2026-03-01T12:00:06.400Z",
			"web_url": "URL/group1/group1-1/project1/-/pipelines/501"
		},
		"web_url": "URL/group1/group1-1/project1/-/jobs/1001",
		"project": {"ci_job_token_scope_enabled": false},
		"artifacts": [], "runner": {"id": 1}, "runner_manager": null,
		"artifacts_expire_at": null, "archived": false, "tag_list": []
	}`)}
	got := g.getAs(job, "/job")
	if diff := cmp.Diff(want.decoded(t), got.decoded(t)); diff != "" {
		t.Error(diff)
	}
}

func TestJob_SaysRefAndSource(t *testing.T) {
	tests := []struct {
		name     string
		pipeline gitlabtest.Pipeline
		ref      string
		tag      bool
		source   string
	}{
		{"branch", gitlabtest.Pipeline{Ref: "feature/x"}, "feature/x", false, "push"},
		{"scheduled branch", gitlabtest.Pipeline{Ref: "main", Kind: "branch", Source: "schedule"}, "main", false, "schedule"},
		{"tag", gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"}, "v1.0", true, "push"},
		{"merge request", gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"},
			"refs/merge-requests/1/head", false, "merge_request_event"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example("")
			w.Jobs[0].Pipeline, w.Jobs[0].Status = test.pipeline, "canceling"
			answer := startInstance(t, w).getAs(job, "/job").decoded(t).(map[string]any)
			pipeline := answer["pipeline"].(map[string]any)
			got := []any{answer["status"], answer["ref"], answer["tag"], pipeline["ref"], pipeline["source"]}
			want := []any{"canceling", test.ref, test.tag, test.ref, test.source}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if len(pipeline["sha"].(string)) != 40 {
				t.Errorf("sha %v", pipeline["sha"])
			}
		})
	}
}
