package gitlab_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestCurrentJob_SaysRefAndPipeline(t *testing.T) {
	rows := []struct {
		name     string
		pipeline gitlabtest.Pipeline
		want     gitlab.CurrentJob // without the ids
	}{
		{"branch", gitlabtest.Pipeline{Ref: "main"}, gitlab.CurrentJob{Ref: "main", PipelineRef: "main", Source: "push"}},
		{"branch with a slash", gitlabtest.Pipeline{Ref: "feature/x"},
			gitlab.CurrentJob{Ref: "feature/x", PipelineRef: "feature/x", Source: "push"}},
		{"schedule", gitlabtest.Pipeline{Ref: "main", Source: "schedule"},
			gitlab.CurrentJob{Ref: "main", PipelineRef: "main", Source: "schedule"}},
		{"tag", gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"},
			gitlab.CurrentJob{Ref: "v1.0", Tag: true, PipelineRef: "v1.0", Source: "push"}},
		{"merge request", gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"},
			gitlab.CurrentJob{Ref: "refs/merge-requests/1/head", PipelineRef: "refs/merge-requests/1/head", Source: "merge_request_event"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c, token := factsServer(t, func(w *gitlabtest.Instance) {
				row.pipeline.ID = 501
				w.Job(jobID).Pipeline = row.pipeline
			})
			got, err := c.CurrentJob(t.Context(), token, gitlab.Login)
			if err != nil {
				t.Fatal(err)
			}
			row.want.JobID, row.want.PipelineID, row.want.ProjectID = jobID, 501, 150
			if diff := cmp.Diff(&row.want, got); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
			if got := s.Calls(gitlabtest.AnyEndpoint); got != 1 {
				t.Errorf("GitLab was asked %d times, want once", got)
			}
		})
	}
}

func TestCurrentJob_IsStrictOnWhatIsUsedAlone(t *testing.T) {
	const minimal = `{"id":1,"ref":"main","tag":false,"pipeline":{"id":2,"project_id":3,"ref":"main"}}`
	good := gitlab.CurrentJob{JobID: 1, Ref: "main", PipelineID: 2, ProjectID: 3, PipelineRef: "main"}
	longest, tooLong := strings.Repeat("r", 1024), strings.Repeat("r", 1025)
	rows := []struct {
		name   string
		change []string
		want   func(*gitlab.CurrentJob) // nil: the reply is unusable
	}{
		{"minimal", nil, func(*gitlab.CurrentJob) {}},
		{"unknown fields", []string{`"id":1`, `"id":1,"new":[{"a":null}],"status":"odd","commit":null`}, func(*gitlab.CurrentJob) {}},
		{"source null", []string{`"id":2`, `"id":2,"source":null`}, func(*gitlab.CurrentJob) {}},
		{"pipeline on another ref", []string{`"ref":"main"}`, `"ref":"refs/merge-requests/1/merge"}`}, func(j *gitlab.CurrentJob) {
			j.PipelineRef = "refs/merge-requests/1/merge"
		}},
		{"longest ref", []string{`"ref":"main","tag"`, `"ref":"` + longest + `","tag"`}, func(j *gitlab.CurrentJob) { j.Ref = longest }},

		{"no job id", []string{`"id":1,`, ``}, nil},
		{"negative job id", []string{`"id":1`, `"id":-1`}, nil},
		{"pipeline id 0", []string{`"id":2`, `"id":0`}, nil},
		{"project id as text", []string{`"project_id":3`, `"project_id":"3"`}, nil},
		{"no project id", []string{`"project_id":3,`, ``}, nil},
		{"no ref", []string{`"ref":"main",`, ``}, nil},
		{"ref null", []string{`"ref":"main","tag"`, `"ref":null,"tag"`}, nil},
		{"empty ref", []string{`"ref":"main","tag"`, `"ref":"","tag"`}, nil},
		{"ref too long", []string{`"ref":"main","tag"`, `"ref":"` + tooLong + `","tag"`}, nil},
		{"no tag", []string{`"tag":false,`, ``}, nil},
		{"tag null", []string{`"tag":false`, `"tag":null`}, nil},
		{"tag as text", []string{`"tag":false`, `"tag":"false"`}, nil},
		{"names in other case do not count", []string{`"tag"`, `"Tag"`}, nil},
		{"no pipeline", []string{`"pipeline"`, `"other"`}, nil},
		{"empty pipeline ref", []string{`"ref":"main"}`, `"ref":""}`}, nil},
		{"pipeline ref too long", []string{`"ref":"main"}`, `"ref":"` + tooLong + `"}`}, nil},
		{"source too long", []string{`"id":2`, `"id":2,"source":"` + tooLong + `"`}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, c, token := factsServer(t, nil)
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.CurrentJob, Body: strings.NewReplacer(row.change...).Replace(minimal)})
			got, err := c.CurrentJob(t.Context(), token, gitlab.Login)
			if row.want == nil {
				var unavailable *gitlab.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Fatalf("error is %v, want unavailable; job is %+v", err, got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := good
			row.want(&want)
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
		})
	}
}
