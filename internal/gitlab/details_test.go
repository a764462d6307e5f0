package gitlab_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
)

const sha = "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"

func TestDetails_OfEachKindOfPipeline(t *testing.T) {
	mergeRequest := job.Ref{Name: "refs/merge-requests/1/head", Type: job.Branch, MergeRequest: true, Protection: job.Unprotected}
	rows := []struct {
		name     string
		pipeline gitlabtest.Pipeline
		ref      job.Ref
		source   string
	}{
		{"branch", gitlabtest.Pipeline{Ref: "main"}, job.Ref{Name: "main", Type: job.Branch}, "push"},
		{"tag", gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"}, job.Ref{Name: "v1.0", Type: job.Tag}, "push"},
		{"schedule", gitlabtest.Pipeline{Ref: "main", Source: "schedule"}, job.Ref{Name: "main", Type: job.Branch}, "schedule"},
		{"merge request", gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"}, mergeRequest, job.MergeRequestEvent},
		{"merge request of an old release", gitlabtest.Pipeline{Ref: "main", Source: job.MergeRequestEvent},
			job.Ref{Name: "main", Type: job.Branch, MergeRequest: true, Protection: job.Unprotected}, job.MergeRequestEvent},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, func(i *gitlabtest.Instance) {
				row.pipeline.ID, row.pipeline.SHA = 501, sha
				i.Job(jobID).Pipeline = row.pipeline
			})
			got, err := newClient(t, s.URL(), nil).Details(t.Context(), token, identified())
			if err != nil {
				t.Fatal(err)
			}
			want := job.Details{
				Ref: row.ref, PipelineSource: row.source, Commit: sha,
				URL: s.URL() + "/group1/group1-1/project1/-/jobs/9223372036854775807",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDetails_Replies(t *testing.T) {
	const good = `{"id":9223372036854775807,"ref":"main","tag":false,"web_url":"https://gitlab/x","commit":{"id":"` + sha + `"},` +
		`"pipeline":{"id":501,"project_id":150,"ref":"main","source":"push"}}`
	whole := job.Details{Ref: job.Ref{Name: "main", Type: job.Branch}, PipelineSource: "push", Commit: sha, URL: "https://gitlab/x"}
	rows := []struct {
		name     string
		old, new string
		want     func(*job.Details) // nil: the reply is of no use
	}{
		{"whole", "", "", func(*job.Details) {}},
		{"longest ref", `"ref":"main","tag"`, `"ref":"` + strings.Repeat("r", 1024) + `","tag"`, func(d *job.Details) { d.Ref.Name = strings.Repeat("r", 1024) }},
		{"no source, as in old releases", `,"source":"push"`, "", func(d *job.Details) { d.PipelineSource = "" }},
		{"no commit", `"commit":{"id":"` + sha + `"},`, "", func(d *job.Details) { d.Commit = "" }},
		{"commit that is none", sha, "main", func(d *job.Details) { d.Commit = "" }},
		{"commit of SHA-256", sha, strings.Repeat("a", 64), func(d *job.Details) { d.Commit = strings.Repeat("a", 64) }},
		{"short commit", sha, sha[:8], func(d *job.Details) { d.Commit = "" }},
		{"URL of another scheme", "https://", "javascript:", func(d *job.Details) { d.URL = "" }},
		{"URL with a line end", "gitlab/x", `gitlab/x\n`, func(d *job.Details) { d.URL = "" }},
		{"URL too long", "gitlab/x", "gitlab/" + strings.Repeat("x", 2048), func(d *job.Details) { d.URL = "" }},
		{"another job", `"id":9223372036854775807`, `"id":5`, nil},
		{"another project", `"project_id":150`, `"project_id":151`, nil},
		{"no ref", `"ref":"main","tag"`, `"tag"`, nil},
		{"ref too long", `"ref":"main","tag"`, `"ref":"` + strings.Repeat("r", 1025) + `","tag"`, nil},
		{"no pipeline's ref", `"ref":"main","source"`, `"source"`, nil},
		{"source too long", `"push"`, `"` + strings.Repeat("p", 65) + `"`, nil},
		{"not said whether it is a tag", `"tag":false,`, "", nil},
		{"tag null", `"tag":false`, `"tag":null`, nil},
		{"tag a text", `"tag":false`, `"tag":"false"`, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s, token := start(t, nil)
			s.Fault(gitlabtest.Fault{Endpoint: gitlabtest.CurrentJob, Body: strings.Replace(good, row.old, row.new, 1)})
			got, err := newClient(t, s.URL(), nil).Details(t.Context(), token, identified())
			if row.want == nil {
				if !isUnavailable(err) {
					t.Errorf("details are %+v, %v; want unavailable", got, err)
				}
				return
			}
			want := whole
			row.want(&want)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v; details (-want +got):\n%s", err, diff)
			}
		})
	}
}
