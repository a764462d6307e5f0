package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

// The first grant that names the job and whose requirements hold admits it.
func TestAdmit(t *testing.T) {
	onMain := policy.Requirements{Refs: policy.Refs{"main"}}
	fromTags := policy.Requirements{RefTypes: policy.RefTypes{"tag"}, Refs: policy.Refs{"v*"}}
	j := job.Job{ProjectID: 150, Groups: job.KnownFact([]int64{25, 23}), Ref: job.Ref{Name: "main", Type: job.Branch}}
	without := func(change func(*job.Job)) job.Job {
		changed := j
		change(&changed)
		return changed
	}
	const noneNames = "no grant of the cluster prod-eu names its project or a group of it"
	const unmet = "it does not meet the requirements of "
	rows := []struct {
		name   string
		grants []policy.Grant
		job    job.Job
		want   policy.Admission
	}{
		{name: "no grants", job: j, want: policy.Admission{Reason: noneNames}},
		{name: "its project", grants: []policy.Grant{{Name: "shop", Projects: []int64{149, 150}}}, job: j, want: policy.Admission{Grant: "shop", Named: true}},
		{name: "another project", grants: []policy.Grant{{Name: "shop", Projects: []int64{15, 1500}}}, job: j, want: policy.Admission{Reason: noneNames}},
		{name: "a group above it", grants: []policy.Grant{{Name: "team", Groups: []int64{23}}}, job: j, want: policy.Admission{Grant: "team", Named: true}},
		{name: "another group", grants: []policy.Grant{{Name: "team", Groups: []int64{2}}}, job: j, want: policy.Admission{Reason: noneNames}},
		{name: "either its project or a group", grants: []policy.Grant{{Name: "team", Projects: []int64{150}, Groups: []int64{2}}}, job: j,
			want: policy.Admission{Grant: "team", Named: true}},
		{name: "the first of two", grants: []policy.Grant{{Name: "a", Groups: []int64{25}}, {Name: "b", Projects: []int64{150}}}, job: j,
			want: policy.Admission{Grant: "a", Named: true}},
		{name: "its requirements hold", grants: []policy.Grant{{Name: "shop", Projects: []int64{150}, Require: onMain}}, job: j,
			want: policy.Admission{Grant: "shop", Named: true}},
		{name: "the first whose requirements hold", grants: []policy.Grant{
			{Name: "other", Projects: []int64{1}}, {Name: "tags", Projects: []int64{150}, Require: fromTags}, {Name: "main", Projects: []int64{150}, Require: onMain},
		}, job: j, want: policy.Admission{Grant: "main", Named: true}},
		{name: "its requirements do not hold", grants: []policy.Grant{{Name: "tags", Projects: []int64{150}, Require: fromTags}}, job: j,
			want: policy.Admission{Named: true, Reason: unmet + `grant "tags": its branch or tag must be one of "v*", and the job's is "main"; ` +
				`it must run for one of "tag", and the job runs for a branch`}},
		{name: "neither holds", grants: []policy.Grant{
			{Name: "tags", Projects: []int64{150}, Require: policy.Requirements{RefTypes: policy.RefTypes{"tag"}}},
			{Name: "other", Projects: []int64{1}},
			{Name: "staging", Groups: []int64{23}, Require: policy.Requirements{Refs: policy.Refs{"staging"}}},
		}, job: j, want: policy.Admission{Named: true, Reason: unmet + `grant "tags": it must run for one of "tag", and the job runs for a branch; ` +
			`nor of grant "staging": its branch or tag must be one of "staging", and the job's is "main"`}},
		{name: "a fact is not known", grants: []policy.Grant{{Name: "shop", Projects: []int64{150}, Require: onMain}},
			job: without(func(j *job.Job) { j.Ref = job.Ref{} }), want: policy.Admission{Named: true,
				Reason: unmet + `grant "shop": its branch or tag must be one of "main", and the job's is not known: ` + tryAgain}},
		{name: "groups not known, and no grant asks for any", grants: []policy.Grant{{Name: "other", Projects: []int64{1}}},
			job: without(func(j *job.Job) { j.Groups = job.Fact[[]int64]{} }), want: policy.Admission{Reason: noneNames}},
		{name: "groups not known", grants: []policy.Grant{{Name: "team", Groups: []int64{23}}},
			job: without(func(j *job.Job) { j.Groups = job.Fact[[]int64]{} }), want: policy.Admission{
				Reason: noneNames + "; the project's groups are not known: " + tryAgain}},
		{name: "groups not known, with the reason", grants: []policy.Grant{{Name: "team", Groups: []int64{23}}},
			job: without(func(j *job.Job) { j.Groups = job.Fact[[]int64]{Why: "give jobgate a tokenFile"} }), want: policy.Admission{
				Reason: noneNames + "; the project's groups are not known: give jobgate a tokenFile"}},
		{name: "groups not known, but its project is named", grants: []policy.Grant{{Name: "team", Projects: []int64{150}, Groups: []int64{23}}},
			job: without(func(j *job.Job) { j.Groups = job.Fact[[]int64]{} }), want: policy.Admission{Grant: "team", Named: true}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := policy.Compile(policy.Rules{Cluster: "prod-eu", Grants: row.grants})
			if diff := cmp.Diff(row.want, p.Admit(&row.job)); diff != "" {
				t.Errorf("admission (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAdmit_ReasonListsAFewGrants(t *testing.T) {
	var grants []policy.Grant
	for range 20 {
		grants = append(grants, policy.Grant{Name: strings.Repeat("g\n", 100), Projects: []int64{150}, Require: policy.Requirements{ProtectedRef: true}})
	}
	reason := policy.Compile(policy.Rules{Grants: grants}).Admit(&job.Job{ProjectID: 150}).Reason
	if n := strings.Count(reason, "grant \""); n != 5 || len(reason) > 2000 || strings.Contains(reason, "\n") {
		t.Errorf("the reason names %d grants in %d bytes: %q", n, len(reason), reason)
	}
	if !strings.HasSuffix(reason, "; nor of 15 more") {
		t.Errorf("the reason does not count the others: %q", reason)
	}
}

func TestGrant_Validation(t *testing.T) {
	const printable = "g.name: Invalid value: must be printable and at most 128 bytes"
	rows := []struct {
		name   string
		grant  policy.Grant
		errors []string
	}{
		{name: "projects", grant: policy.Grant{Name: "shop", Projects: []int64{150}}},
		{name: "groups, and requirements", grant: policy.Grant{Name: "shop", Groups: []int64{23}, Require: one}},
		{name: "no name", grant: policy.Grant{Projects: []int64{150}},
			errors: []string{"g.name: Required value: it is shown in messages and in the audit log"}},
		{name: "a name as long as may be", grant: policy.Grant{Name: strings.Repeat("x", 128), Projects: []int64{150}}},
		{name: "a long name", grant: policy.Grant{Name: strings.Repeat("x", 129), Projects: []int64{150}}, errors: []string{printable}},
		{name: "a name that is long in bytes", grant: policy.Grant{Name: strings.Repeat("é", 65), Projects: []int64{150}}, errors: []string{printable}},
		{name: "a name that is not printable", grant: policy.Grant{Name: "a\nb", Projects: []int64{150}}, errors: []string{printable}},
		{name: "no one named", grant: policy.Grant{Name: "all"}, errors: []string{"g: Required value: must have at least one of projects and groups"}},
		{name: "a bad requirement", grant: policy.Grant{Name: "x", Projects: []int64{1}, Require: policy.Requirements{Refs: policy.Refs{""}}},
			errors: []string{`g.require.refs[0]: Invalid value: "": must not be blank`}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(row.errors, texts(row.grant.Validate(field.NewPath("g")))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
