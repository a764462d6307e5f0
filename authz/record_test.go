package authz_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/policy"
)

// recorded decides with a log whose records are kept.
func recorded(t *testing.T, jobs authz.Jobs, r policy.Rules, requests ...authorizer.Attributes) []decision.Record {
	t.Helper()
	var stream bytes.Buffer
	a := authz.New(jobs, policy.Compile(r), decision.NewLog(&stream, nil), nil)
	ctx, _ := logged(t)
	for _, attrs := range requests {
		a.Decide(ctx, attrs)
	}
	return records(t, &stream)
}

func records(t *testing.T, stream *bytes.Buffer) []decision.Record {
	t.Helper()
	var all []decision.Record
	for line := range strings.Lines(stream.String()) {
		var r decision.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// ignoring what other tests look at.
var ignoring = cmpopts.IgnoreFields(decision.Record{}, "Time", "Message")

func TestAuthorize_RecordsWhoAndWhat(t *testing.T) {
	long := strings.Repeat("s", 100)
	about := decision.Record{
		Decision: decision.Denied, Reason: "restriction", Restriction: "closed", Job: jobID, Project: 150, Pipeline: 501, Username: "jdoe",
		As: "gitlab:ci_job:1001", Verb: "create", APIGroup: "apps", Resource: "deployments", Namespace: "prod",
	}
	rows := []struct {
		name   string
		jobs   registry
		rules  policy.Rules
		attrs  authorizer.Attributes
		change func(*decision.Record)
	}{
		{name: "a job that was never seen here", attrs: as(extra()), change: func(r *decision.Record) { r.Agent = agentID }},
		{name: "a known job", jobs: registry{job: knownJob()}, attrs: as(extra()), change: func(r *decision.Record) { r.Agent, r.User = agentID, 9 }},
		{name: "a job of a grant", attrs: as(grantExtra(userKey, "9")), change: func(r *decision.Record) {
			r.Cluster, r.Grant, r.User = cluster, "shop", 9
		}},
		{name: "an object and its subresource, cut", attrs: as(extra(), request("create", "prod", "apps", "deployments/"+long),
			func(r *authorizer.AttributesRecord) { r.Name, r.Path = "web\n"+long, "/the/path" }),
			change: func(r *decision.Record) {
				r.Agent, r.Name, r.Subresource = agentID, "web\ufffd"+long[:60]+"…", long[:64]+"…"
			}},
		{name: "a path", attrs: as(extra(), nonResource("get", "/metrics")), change: func(r *decision.Record) {
			r.Agent, r.Verb, r.Path = agentID, "get", "/metrics"
			r.APIGroup, r.Resource, r.Namespace = "", "", ""
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := rules(policy.Restriction{Name: "closed", Require: unmeetable})
			r.Grants = []policy.Grant{{Name: "shop", Projects: []int64{150}}}
			want := about
			row.change(&want)
			if diff := cmp.Diff([]decision.Record{want}, recorded(t, row.jobs, r, row.attrs), ignoring); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}

// The memory of one evaluation serves the next: nothing of a job may stay in it.
func TestAuthorize_RecordOfMalformedExtrasNamesNoOtherJob(t *testing.T) {
	got := recorded(t, registry{job: knownJob()}, rules(policy.Restriction{Name: "closed", Require: unmeetable}),
		as(extra()), as(map[string][]string{jobKey: {"77"}, projectKey: {"x"}}))
	want := decision.Record{
		Decision: decision.Denied, Reason: "malformed", Job: 77, As: "gitlab:ci_job:1001",
		Verb: "create", APIGroup: "apps", Resource: "deployments", Namespace: "prod",
	}
	if diff := cmp.Diff(want, got[len(got)-1], ignoring); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

func TestAuthorize_LogLineHasTheRecord(t *testing.T) {
	ctx, log := logged(t)
	if newAuthorizer(ended, rules()).Decide(ctx, as(extra())) == nil {
		t.Fatal("no denial")
	}
	for _, field := range []string{`"Request denied"`, `reason="ended"`, "job=1001", "project=150", "agent=4", `verb="create"`,
		`resource="deployments"`, `namespace="prod"`, `message="jobgate: job 1001`, "authorizer.go:"} {
		if !strings.Contains(log.String(), field) {
			t.Errorf("the line lacks %s: %s", field, log)
		}
	}
}

func TestAuthorize_FloodLeavesABoundedLog(t *testing.T) {
	a := newAuthorizer(registry{}, policy.Rules{})
	ctx, log := logged(t)
	for range 10000 {
		if a.Decide(ctx, as(extra())) == nil {
			t.Fatal("no denial")
		}
	}
	if got := strings.Count(log.String(), "\n"); got < 2000 || got > 5000 {
		t.Errorf("%d lines for 10,000 denials, want the burst of 2,000 and a few more", got)
	}
}
