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
		{name: "branch", pipeline: gitlabtest.Pipeline{Ref: "main"}, ref: job.Ref{Name: "main", Type: job.Branch}, source: "push"},
		{name: "tag", pipeline: gitlabtest.Pipeline{Ref: "v1.0", Kind: "tag"}, ref: job.Ref{Name: "v1.0", Type: job.Tag}, source: "push"},
		{name: "schedule", pipeline: gitlabtest.Pipeline{Ref: "main", Source: "schedule"},
			ref: job.Ref{Name: "main", Type: job.Branch}, source: "schedule"},
		{name: "merge request", pipeline: gitlabtest.Pipeline{Ref: "refs/merge-requests/1/head", Kind: "merge_request"},
			ref: mergeRequest, source: job.MergeRequestEvent},
		{name: "merge request of an old release", pipeline: gitlabtest.Pipeline{Ref: "main", Source: job.MergeRequestEvent},
			ref: job.Ref{Name: "main", Type: job.Branch, MergeRequest: true, Protection: job.Unprotected}, source: job.MergeRequestEvent},
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
		{name: "whole", old: "", new: "", want: func(*job.Details) {}},
		{name: "longest ref", old: `"ref":"main","tag"`, new: `"ref":"` + strings.Repeat("r", 1024) + `","tag"`,
			want: func(d *job.Details) { d.Ref.Name = strings.Repeat("r", 1024) }},
		{name: "no source, as in old releases", old: `,"source":"push"`, new: "", want: func(d *job.Details) { d.PipelineSource = "" }},
		{name: "no commit", old: `"commit":{"id":"` + sha + `"},`, new: "", want: func(d *job.Details) { d.Commit = "" }},
		{name: "commit that is none", old: sha, new: "main", want: func(d *job.Details) { d.Commit = "" }},
		{name: "commit of SHA-256", old: sha, new: strings.Repeat("a", 64), want: func(d *job.Details) { d.Commit = strings.Repeat("a", 64) }},
		{name: "short commit", old: sha, new: sha[:8], want: func(d *job.Details) { d.Commit = "" }},
		{name: "URL of another scheme", old: "https://", new: "javascript:", want: func(d *job.Details) { d.URL = "" }},
		{name: "URL with a line end", old: "gitlab/x", new: `gitlab/x\n`, want: func(d *job.Details) { d.URL = "" }},
		{name: "URL too long", old: "gitlab/x", new: "gitlab/" + strings.Repeat("x", 2048), want: func(d *job.Details) { d.URL = "" }},
		{name: "another job", old: `"id":9223372036854775807`, new: `"id":5`, want: nil},
		{name: "another project", old: `"project_id":150`, new: `"project_id":151`, want: nil},
		{name: "no ref", old: `"ref":"main","tag"`, new: `"tag"`, want: nil},
		{name: "ref too long", old: `"ref":"main","tag"`, new: `"ref":"` + strings.Repeat("r", 1025) + `","tag"`, want: nil},
		{name: "no pipeline's ref", old: `"ref":"main","source"`, new: `"source"`, want: nil},
		{name: "source too long", old: `"push"`, new: `"` + strings.Repeat("p", 65) + `"`, want: nil},
		{name: "not said whether it is a tag", old: `"tag":false,`, new: "", want: nil},
		{name: "tag null", old: `"tag":false`, new: `"tag":null`, want: nil},
		{name: "tag a text", old: `"tag":false`, new: `"tag":"false"`, want: nil},
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
