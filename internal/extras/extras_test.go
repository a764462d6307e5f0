package extras_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
)

// all the facts there are.
const all = job.FactEnvironment | job.FactEnvironmentProtected | job.FactRef | job.FactRefType | job.FactRefProtected | job.FactPipelineSource |
	job.FactGroups | job.FactRoles | job.FactUserID | job.FactCommit | job.FactURL

// whole is a job of which everything is known.
func whole() job.Job {
	return job.Job{
		ID: 1001, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups: job.KnownFact([]int64{25, 23}), Roles: job.KnownFact([]string{"guest", "developer"}),
		Environment: job.Environment{
			Slug: "eu-prod-lb01nz", Tier: "production", Name: job.KnownFact("eu/prod"), Protected: job.KnownFact(true),
		},
		Ref: job.Ref{Name: "main", Type: job.Branch, Protection: job.Protected}, PipelineSource: job.KnownFact("push"),
		Commit: "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15", URL: "https://gitlab.example.com/g/p/-/jobs/1001",
	}
}

// The keys and values are a contract with kube-apiserver's configuration, admission policies and audit logs.
func TestEncode_Keys(t *testing.T) {
	documented := map[string][]string{
		"agent.gitlab.com/id": {"4"}, "agent.gitlab.com/config_project_id": {"7"}, "agent.gitlab.com/project_id": {"150"},
		"agent.gitlab.com/ci_pipeline_id": {"501"}, "agent.gitlab.com/ci_job_id": {"1001"}, "agent.gitlab.com/username": {"jdoe"},
		"agent.gitlab.com/environment_slug": {"eu-prod-lb01nz"}, "agent.gitlab.com/environment_tier": {"production"},
	}
	facts := map[string][]string{
		"jobgate.io/environment": {"eu/prod"}, "jobgate.io/environment-protected": {"true"}, "jobgate.io/ref": {"main"},
		"jobgate.io/ref-type": {"branch"}, "jobgate.io/ref-protected": {"true"}, "jobgate.io/pipeline-source": {"push"},
		"jobgate.io/group": {"25", "23"}, "jobgate.io/role": {"guest", "developer"}, "jobgate.io/user-id": {"9"},
		"jobgate.io/commit":  {"f1d2d2f924e986ac86fdf7b36c94bcdf32beec15"},
		"jobgate.io/job-url": {"https://gitlab.example.com/g/p/-/jobs/1001"},
	}
	with := func(maps_ ...map[string][]string) map[string][]string {
		joined := map[string][]string{}
		for _, m := range maps_ {
			maps.Copy(joined, m)
		}
		return joined
	}
	byCluster := with(documented, map[string][]string{"jobgate.io/cluster": {"prod-eu"}})
	delete(byCluster, "agent.gitlab.com/id")
	delete(byCluster, "agent.gitlab.com/config_project_id")
	ofIDToken := whole()
	ofIDToken.TokenID = "abc-1"
	rows := []struct {
		name     string
		identity extras.Identity
		facts    job.Facts
		want     map[string][]string
	}{
		{name: "an agent's job, with no rule that needs a fact", identity: extras.Identity{Job: whole(), AgentID: 4, ConfigProjectID: 7}, want: documented},
		{name: "every fact", identity: extras.Identity{Job: whole(), AgentID: 4, ConfigProjectID: 7}, facts: all, want: with(documented, facts)},
		{name: "a grant's job", identity: extras.Identity{Job: whole(), Cluster: "prod-eu", Grant: "shop"},
			want: with(byCluster, map[string][]string{"jobgate.io/grant": {"shop"}})},
		{name: "an ID token's job", identity: extras.Identity{Job: ofIDToken, Cluster: "prod-eu", Grant: "shop"},
			want: with(byCluster, map[string][]string{"jobgate.io/grant": {"shop"}, "authentication.kubernetes.io/credential-id": {"JTI=abc-1"}})},
		{name: "a denied identity", identity: extras.Identity{Job: whole(), Cluster: "prod-eu", IsDenied: true, Denied: "no"},
			want: with(byCluster, map[string][]string{"jobgate.io/denied": {"no"}})},
		{name: "an agent that does not list the job", identity: extras.Identity{Job: job.Job{ID: 1, ProjectID: 2}, AgentID: 4, IsDenied: true},
			want: map[string][]string{"agent.gitlab.com/ci_job_id": {"1"}, "agent.gitlab.com/project_id": {"2"}, "agent.gitlab.com/id": {"4"}, "jobgate.io/denied": {""}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := map[string][]string{}
			row.identity.Encode(got, row.facts)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("extras (-want +got):\n%s", diff)
			}
			if !extras.Is(got) {
				t.Error("the identity is no job's")
			}
		})
	}
}

// What is not known, or could not be read back, is left out and harms nothing else.
func TestEncode_LeavesOut(t *testing.T) {
	long := strings.Repeat("x", 4097)
	rows := []struct {
		name   string
		change func(*job.Job)
		key    string
		want   []string // nil: left out
	}{
		{name: "an environment's name that is not known", change: func(j *job.Job) { j.Environment.Name = job.Fact[string]{} }, key: extras.Environment},
		{name: "an environment's protection that is not known", change: func(j *job.Job) { j.Environment.Protected = job.Fact[bool]{} }, key: extras.EnvironmentProtected},
		{name: "a ref that is not known", change: func(j *job.Job) { j.Ref = job.Ref{} }, key: extras.Ref},
		{name: "a protection that is not known", change: func(j *job.Job) { j.Ref.Protection = job.ProtectionUnknown }, key: extras.RefProtected},
		{name: "groups that are not known", change: func(j *job.Job) { j.Groups = job.Fact[[]int64]{} }, key: extras.Group},
		{name: "no groups", change: func(j *job.Job) { j.Groups = job.KnownFact[[]int64](nil) }, key: extras.Group, want: []string{}},
		{name: "no roles", change: func(j *job.Job) { j.Roles = job.KnownFact[[]string](nil) }, key: extras.Role, want: []string{}},
		{name: "roles without a name", change: func(j *job.Job) { j.Roles.Value = []string{"", "owner", long} }, key: extras.Role, want: []string{"owner"}},
		{name: "more roles than an extra has", change: func(j *job.Job) { j.Roles.Value = slices.Repeat([]string{"r"}, 65) }, key: extras.Role,
			want: slices.Repeat([]string{"r"}, 64)},
		{name: "more groups than an extra has", change: func(j *job.Job) { j.Groups.Value = slices.Repeat([]int64{5}, 65) }, key: extras.Group,
			want: slices.Repeat([]string{"5"}, 64)},
		{name: "a page whose URL is too long", change: func(j *job.Job) { j.URL = long }, key: extras.JobURL},
		{name: "a merge request's ref", change: func(j *job.Job) { j.Ref.MergeRequest = true }, key: extras.PipelineSource, want: []string{"merge_request_event"}},
		{name: "a merge request's protection", change: func(j *job.Job) { j.Ref.MergeRequest = true }, key: extras.RefProtected, want: []string{"false"}},
		{name: "a merge request's protection that is not known", change: func(j *job.Job) {
			j.Ref.MergeRequest, j.Ref.Protection = true, job.ProtectionUnknown
		}, key: extras.RefProtected, want: []string{"false"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			j, got := whole(), map[string][]string{}
			row.change(&j)
			i := extras.Identity{Job: j, AgentID: 4}
			i.Encode(got, all)
			if diff := cmp.Diff(row.want, got[row.key]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", row.key, diff)
			}
			var back extras.Identity
			if wrong := back.Decode(got); wrong != "" {
				t.Errorf("it cannot be read back: %s", wrong)
			}
		})
	}
}

// values changes the extras of a job of an agent; pairs are a key and its value, and "-" leaves the key out.
func values(pairs ...string) map[string][]string {
	x := map[string][]string{extras.Job: {"1001"}, extras.Project: {"150"}, extras.Agent: {"4"}}
	for i := 0; i < len(pairs); i += 2 {
		if x[pairs[i]] = []string{pairs[i+1]}; pairs[i+1] == "-" {
			delete(x, pairs[i])
		}
	}
	return x
}

func TestDecode_SaysWhatIsWrong(t *testing.T) {
	long := strings.Repeat("x", 4097)
	environment := []string{extras.Slug, "prod", extras.Tier, "production"}
	rows := []struct {
		name  string
		extra map[string][]string
		want  string // empty: well formed
	}{
		{name: "the least", extra: values()},
		{name: "an empty reason", extra: values(extras.Denied, "")},
		{name: "others' extras", extra: values("example.com/x", "")},
		{name: "as long as may be", extra: values(extras.Ref, long[1:])},
		{name: "a cluster without a grant: kube-apiserver's own", extra: values(extras.Agent, "-", extras.Cluster, "c")},
		{name: "the id of a certificate", extra: values(extras.CredentialID, "X509SHA256=00")},

		{name: "nothing", extra: nil, want: "agent.gitlab.com/ci_job_id must be there"},
		{name: "no job", extra: values(extras.Job, "-"), want: "agent.gitlab.com/ci_job_id must be there"},
		{name: "no project", extra: values(extras.Project, "-"), want: "agent.gitlab.com/project_id must be there"},
		{name: "neither agent nor cluster", extra: values(extras.Agent, "-"), want: "agent.gitlab.com/id must be there, or jobgate.io/cluster instead of it"},
		{name: "agent and cluster", extra: values(extras.Cluster, "c", extras.Grant, "g"),
			want: "agent.gitlab.com/id must be there, or jobgate.io/cluster instead of it"},
		{name: "a cluster without a grant, denied", extra: values(extras.Agent, "-", extras.Cluster, "c", extras.Denied, "no")},
		{name: "a cluster with a grant, denied", extra: values(extras.Agent, "-", extras.Cluster, "c", extras.Grant, "g", extras.Denied, "no"),
			want: "jobgate.io/grant must come together with jobgate.io/cluster, and not with jobgate.io/denied"},
		{name: "an agent of an ID token", extra: values(extras.CredentialID, "JTI=abc"),
			want: "agent.gitlab.com/id must not come together with the JTI of an ID token"},
		{name: "an agent with a grant", extra: values(extras.Grant, "g"),
			want: "jobgate.io/grant must come together with jobgate.io/cluster, and not with jobgate.io/denied"},
		{name: "a cluster that is no DNS label", extra: values(extras.Agent, "-", extras.Cluster, "Prod", extras.Grant, "g"), want: "jobgate.io/cluster must be a DNS label"},
		{name: "a slug alone", extra: values(extras.Slug, "prod"),
			want: "agent.gitlab.com/environment_slug must come together with agent.gitlab.com/environment_tier"},
		{name: "a name alone", extra: values(extras.Environment, "prod"), want: "jobgate.io/environment must come together with agent.gitlab.com/environment_slug"},
		{name: "a protection that is neither", extra: values(append(environment, extras.EnvironmentProtected, "yes")...),
			want: "jobgate.io/environment-protected must be true or false"},
		{name: "a ref type that is neither", extra: values(extras.RefType, "commit"), want: "jobgate.io/ref-type must be branch or tag"},
		{name: "an id with a zero", extra: values(extras.UserID, "09"), want: "jobgate.io/user-id must be one positive decimal number"},
		{name: "a long text", extra: values(extras.Ref, long), want: "jobgate.io/ref must have one value of at most 4096 bytes"},
		{name: "a long reason", extra: values(extras.Denied, long), want: "jobgate.io/denied must have one value of at most 4096 bytes"},
		{name: "the first of several", extra: values(extras.Project, "x", extras.Ref, ""), want: "agent.gitlab.com/project_id must be one positive decimal number"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var i extras.Identity
			if got := i.Decode(row.extra); got != row.want {
				t.Errorf("wrong is %q, want %q", got, row.want)
			}
		})
	}
}

// kube-apiserver can make no SHA-256, so it leaves out the slug of such an environment. jobgate's own identities always have it.
func TestDecode_SlugOfAnEnvironmentThatKubeAPIServerNames(t *testing.T) {
	rows := []struct {
		name, slug, want string
	}{
		{name: "eu/prod", want: "eu-prod-lb01nz"},
		{name: "Production", want: job.Slug("Production")},
		{name: "prod", slug: "prod", want: "prod"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			extra := values(extras.Agent, "-", extras.Cluster, "c", extras.Environment, row.name, extras.Tier, "production")
			if row.slug != "" {
				extra[extras.Slug] = []string{row.slug}
			}
			var i extras.Identity
			if wrong := i.Decode(extra); wrong != "" || i.Job.Environment.Slug != row.want || !i.IsOfAPIServer() {
				t.Errorf("wrong is %q, the slug is %q, of the API server: %t", wrong, i.Job.Environment.Slug, i.IsOfAPIServer())
			}
		})
	}
}

// Every extra but the lists has one value; the lists have at most 64, each of 1 to 4096 bytes.
func TestDecode_CountsValues(t *testing.T) {
	i := extras.Identity{Job: whole(), Cluster: "c"}
	i.Job.TokenID = "x"
	countValues(t, i)
	countValues(t, extras.Identity{Job: whole(), AgentID: 4, ConfigProjectID: 7})
}

func countValues(t *testing.T, i extras.Identity) {
	t.Helper()
	full := map[string][]string{}
	i.Encode(full, all)
	for key, value := range full {
		isList := key == extras.Group || key == extras.Role
		for name, changed := range map[string][]string{
			"none": {}, "nil": nil, "two": {value[0], value[0]}, "an empty one": {""}, "65": slices.Repeat([]string{value[0]}, 65),
			"one that is too long": {strings.Repeat("9", 4097)},
		} {
			t.Run(fmt.Sprintf("%s with %s", key, name), func(t *testing.T) {
				extra := maps.Clone(full)
				extra[key] = changed
				isFine := isList && len(changed) <= 2 && name != "an empty one" && name != "one that is too long" || key == extras.CredentialID && name == "an empty one"
				if wrong := i.Decode(extra); (wrong == "") != isFine || !isFine && !strings.HasPrefix(wrong, key+" ") {
					t.Errorf("wrong is %q", wrong)
				}
			})
		}
	}
}

func TestDecode_CredentialID(t *testing.T) {
	for value, want := range map[string]string{
		"JTI=abc": "abc", "JTI=": "", "JTI=JTI=x": "JTI=x", "X509SHA256=abc": "", "abc": "", "": "",
	} {
		var i extras.Identity
		if wrong := i.Decode(values(extras.Agent, "-", extras.Cluster, "c", extras.CredentialID, value)); wrong != "" || i.Job.TokenID != want {
			t.Errorf("the credential %q makes the token id %q (%s), want %q", value, i.Job.TokenID, wrong, want)
		}
	}
}

// A merge request's pipeline shows in its ref's name, or in what started it.
func TestDecode_MergeRequest(t *testing.T) {
	rows := []struct {
		name        string
		ref, source string
		want        bool
	}{
		{name: "a branch", ref: "main", source: "push"},
		{name: "the ref of a merge request", ref: "refs/merge-requests/1/head", source: "push", want: true},
		{name: "the source of a merge request", ref: "main", source: "merge_request_event", want: true},
		{name: "a branch with a similar name", ref: "merge-requests/1", source: "push"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var i extras.Identity
			if wrong := i.Decode(values(extras.Ref, row.ref, extras.PipelineSource, row.source)); wrong != "" || i.Job.Ref.MergeRequest != row.want {
				t.Errorf("merge request: %t (%s), want %t", i.Job.Ref.MergeRequest, wrong, row.want)
			}
		})
	}
}

// An Identity that is decoded into a second time keeps nothing of the first, and costs nothing.
func TestDecode_IntoAUsedIdentity(t *testing.T) {
	full := map[string][]string{}
	first := extras.Identity{Job: whole(), Cluster: "c", IsDenied: true, Denied: "no"}
	first.Encode(full, all)
	var used, fresh extras.Identity
	if wrong := used.Decode(full); wrong != "" {
		t.Fatal(wrong)
	}
	used.Decode(values())
	fresh.Decode(values())
	if diff := cmp.Diff(fresh, used); diff != "" {
		t.Errorf("a used identity (-fresh +used):\n%s", diff)
	}
	used.Decode(full)
	if got := testing.AllocsPerRun(100, func() { used.Decode(full) }); got != 0 {
		t.Errorf("%v allocations, want none", got)
	}
}

func TestString_NamesTheJob(t *testing.T) {
	i := extras.Identity{Job: whole()}
	if got := i.String(); got != "job 1001 of project 150" {
		t.Errorf("got %q", got)
	}
}
