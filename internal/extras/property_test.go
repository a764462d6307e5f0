package extras_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/job"
)

// generator makes random identities, as their sources make them: what is empty is not known, and a merge request is told by
// its ref's name or by what started its pipeline.
type generator struct{ *rand.Rand }

func (g generator) id() int64 {
	return []int64{1, 150, g.Int64N(math.MaxInt64-1) + 1, math.MaxInt64}[g.IntN(4)]
}

func (g generator) text() string {
	return []string{"x", "eu/prod", "größe\n\x00\"", "\xff", strings.Repeat("y", 4096)}[g.IntN(5)]
}

func (g generator) oneOf(texts ...string) string { return texts[g.IntN(len(texts))] }

func fact[T any](g generator, value T) job.Fact[T] {
	if g.IntN(2) == 0 {
		return job.Fact[T]{Why: "GitLab refuses", Refused: true}
	}
	return job.KnownFact(value)
}

func list[T any](g generator, item func() T) []T {
	var items []T
	for range g.IntN(3) * g.IntN(33) {
		items = append(items, item())
	}
	return items
}

func (g generator) job() job.Job {
	j := job.Job{
		ID: g.id(), ProjectID: g.id(), PipelineID: g.id(), UserID: g.id(), Username: g.text(),
		Groups: fact(g, list(g, g.id)), Roles: fact(g, list(g, g.text)),
		PipelineSource: fact(g, g.oneOf("push", "web", job.MergeRequestEvent)),
		Ref: job.Ref{
			Name: g.oneOf("", "main", g.text(), "refs/merge-requests/1/head"), Type: job.RefType(g.oneOf("", "branch", "tag")),
			Protection: job.Protection(g.IntN(3)),
		},
		Commit: g.oneOf("", g.text()), URL: g.oneOf("", g.text()), TokenID: g.oneOf("", "a-1", "JTI=x"),
	}
	j.Ref.MergeRequest = strings.HasPrefix(j.Ref.Name, "refs/merge-requests/") || j.PipelineSource.Value == job.MergeRequestEvent
	if g.IntN(2) == 0 {
		j.Environment = job.Environment{
			Slug: g.oneOf("production", "eu-prod-lb01nz"), Tier: g.oneOf(job.Tiers...), Name: fact(g, g.text()), Protected: fact(g, g.IntN(2) == 0),
		}
	}
	return j
}

func (g generator) identity() extras.Identity {
	i := extras.Identity{Job: g.job()}
	switch g.IntN(5) {
	case 0:
		i.AgentID, i.ConfigProjectID, i.Job.TokenID = g.id(), g.id(), ""
	case 1:
		i.AgentID, i.IsDenied, i.Denied, i.Job.TokenID = g.id(), true, g.oneOf("", g.text()), ""
	case 2:
		i.Cluster, i.Grant = "prod-eu", g.text()
	case 3:
		i.Cluster = "prod-eu" // kube-apiserver has verified the ID token
	default:
		i.Cluster, i.IsDenied, i.Denied = "prod-eu", true, g.oneOf("", g.text())
	}
	return i
}

// carried is what an identity's extras tell of it, when some facts are asked for.
func carried(i extras.Identity, facts job.Facts) extras.Identity {
	j := i.Job
	told := job.Job{ID: j.ID, ProjectID: j.ProjectID, PipelineID: j.PipelineID, Username: j.Username, TokenID: j.TokenID}
	told.Environment.Slug, told.Environment.Tier = j.Environment.Slug, j.Environment.Tier
	keep(facts, job.FactEnvironment, &told.Environment.Name, j.Environment.Name)
	keep(facts, job.FactEnvironmentProtected, &told.Environment.Protected, j.Environment.Protected)
	keep(facts, job.FactPipelineSource, &told.PipelineSource, j.PipelineSource)
	keep(facts, job.FactGroups, &told.Groups, j.Groups)
	keep(facts, job.FactRoles, &told.Roles, j.Roles)
	if facts.Has(job.FactRef) {
		told.Ref.Name = j.Ref.Name
		if j.Ref.MergeRequest && !strings.HasPrefix(j.Ref.Name, "refs/merge-requests/") {
			told.PipelineSource = job.KnownFact(job.MergeRequestEvent) // or the ref would be taken for a branch
		}
	}
	told.Ref.MergeRequest = strings.HasPrefix(told.Ref.Name, "refs/merge-requests/") || told.PipelineSource.Value == job.MergeRequestEvent
	if facts.Has(job.FactRefType) {
		told.Ref.Type = j.Ref.Type
	}
	if facts.Has(job.FactRefProtected) {
		told.Ref.Protection = j.Ref.Protection
		if j.Ref.MergeRequest {
			told.Ref.Protection = job.Unprotected
		}
	}
	if facts.Has(job.FactUserID) {
		told.UserID = j.UserID
	}
	if facts.Has(job.FactCommit) {
		told.Commit = j.Commit
	}
	if facts.Has(job.FactURL) {
		told.URL = j.URL
	}
	i.Job = told
	return i
}

// keep copies a fact that is asked for and known. Why one is not known stays behind.
func keep[T any](facts, wanted job.Facts, to *job.Fact[T], from job.Fact[T]) {
	if facts.Has(wanted) && from.Known {
		*to = from
	}
}

// Whatever is asked for, what Encode writes Decode reads, and it tells the same: for every set of facts.
func TestRoundTrip(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(5, 6))}
	var used extras.Identity
	for facts := range all + 1 {
		for range 2 {
			i := g.identity()
			extra := map[string][]string{"example.com/other": {""}}
			i.Encode(extra, facts)
			if wrong := used.Decode(extra); wrong != "" {
				t.Fatalf("facts %b of %+v make extras %v, of which %s", facts, i, extra, wrong)
			}
			if diff := cmp.Diff(carried(i, facts), used, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("facts %b of %+v (-want +got):\n%s", facts, i, diff)
			}
		}
	}
}

// FuzzDecode reads anything within its bounds without a panic, repeats no value in what it says is wrong, and what it
// accepts it writes and reads again as the same.
func FuzzDecode(f *testing.F) {
	keys := []string{
		extras.Agent, extras.ConfigProject, extras.Project, extras.Pipeline, extras.Job, extras.Username, extras.Slug, extras.Tier, extras.Cluster,
		extras.Grant, extras.Denied, extras.Environment, extras.EnvironmentProtected, extras.Ref, extras.RefType, extras.RefProtected,
		extras.PipelineSource, extras.Group, extras.Role, extras.UserID, extras.Commit, extras.JobURL, extras.CredentialID, "example.com/x",
	}
	// Entries are separated by ";", an entry's values by ",", and its key is one letter.
	f.Add("e1001;c150;a4")
	f.Add("e1;c2;ic;jg;r25,23;wJTI=x")
	f.Add("e1;c2;a3;gprod;hproduction;lprod;mtrue;nmain;qmerge_request_event;ptrue;sguest,owner;t9;uc0ffee;vhttps://x/1;kno")
	f.Fuzz(func(t *testing.T, text string) {
		extra := map[string][]string{}
		for entry := range strings.SplitSeq(text, ";") {
			if entry != "" && entry[0] >= 'a' && int(entry[0]-'a') < len(keys) {
				extra[keys[entry[0]-'a']] = strings.Split(entry[1:], ",")
			}
		}
		var first, second extras.Identity
		if wrong := first.Decode(extra); wrong != "" {
			for _, values := range extra {
				for _, v := range values {
					if len(v) > 20 && strings.Contains(wrong, v) {
						t.Errorf("%q repeats a value", wrong)
					}
				}
			}
			return
		}
		if first.Job.ID < 1 || first.Job.ProjectID < 1 || (first.AgentID == 0) == (first.Cluster == "") || len(first.Job.Groups.Value) > 64 {
			t.Errorf("accepted: %+v", first)
		}
		again := map[string][]string{}
		first.Encode(again, all)
		if wrong := second.Decode(again); wrong != "" {
			t.Fatalf("what was accepted and written again is wrong: %s", wrong)
		}
		if diff := cmp.Diff(carried(first, all), second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written and read again (-want +got):\n%s", diff)
		}
	})
}
