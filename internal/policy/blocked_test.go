package policy_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestBlocked(t *testing.T) {
	j := job.Job{ID: 1001, ProjectID: 150, UserID: 9, Groups: job.KnownFact([]int64{25, 23})}
	rows := []struct {
		name    string
		blocked policy.Blocked
		job     job.Job
		reason  string // empty: not blocked
	}{
		{name: "nothing blocked", job: j},
		{name: "others blocked", blocked: policy.Blocked{Projects: []int64{1001}, Groups: []int64{150}, Users: []int64{23}, Jobs: []int64{9}}, job: j},
		{name: "job", blocked: policy.Blocked{Jobs: []int64{1, 1001}}, job: j, reason: "job 1001 is blocked in this cluster (blocked.jobs)"},
		{name: "project", blocked: policy.Blocked{Projects: []int64{150}}, job: j, reason: "project 150 is blocked in this cluster (blocked.projects)"},
		{name: "user", blocked: policy.Blocked{Users: []int64{9}}, job: j, reason: "the user of the job is blocked in this cluster (blocked.users: 9)"},
		{name: "a group above it", blocked: policy.Blocked{Groups: []int64{23}}, job: j,
			reason: "group 23 of the project is blocked in this cluster (blocked.groups)"},
		{name: "several lists, the narrowest named", blocked: policy.Blocked{Projects: []int64{150}, Jobs: []int64{1001}}, job: j,
			reason: "job 1001 is blocked in this cluster (blocked.jobs)"},
		{name: "groups not known", blocked: policy.Blocked{Groups: []int64{23}}, job: job.Job{ID: 1001, Groups: job.Fact[[]int64]{Value: []int64{23}}}},
		{name: "user not known", blocked: policy.Blocked{Users: []int64{9}}, job: job.Job{ID: 1001}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := row.blocked.Reason(&row.job); got != row.reason {
				t.Errorf("reason is %q, want %q", got, row.reason)
			}
		})
	}
}

// What the lists are compared with has to travel with the identity, for instances that know no more of the job.
func TestBlocked_FactsTravelInEveryIdentity(t *testing.T) {
	rows := []struct {
		name    string
		blocked policy.Blocked
		want    job.Facts
	}{
		{name: "nothing", want: 0},
		{name: "jobs and projects, which every identity has", blocked: policy.Blocked{Jobs: []int64{1}, Projects: []int64{1}}, want: 0},
		{name: "groups", blocked: policy.Blocked{Groups: []int64{1}}, want: job.FactGroups},
		{name: "users", blocked: policy.Blocked{Users: []int64{1}}, want: job.FactUserID},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := policy.Compile(policy.Rules{Blocked: row.blocked})
			if byAgent, byGrant := p.ExtrasForAgent(4), p.ExtrasForGrants(); byAgent != row.want || byGrant != row.want {
				t.Errorf("facts are %b and %b, want %b", byAgent, byGrant, row.want)
			}
		})
	}
}
