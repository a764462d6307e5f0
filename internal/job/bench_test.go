package job_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// typical is a reply as GitLab gives it: three groups, an environment, five roles, one agent.
const typical = `{"allowed_agents":[{"id":4,"config_project":{"id":7},"configuration":{"access_as":{"ci_job":{}}}}],` +
	`"job":{"id":%d},"pipeline":{"id":501},"project":{"id":150,"groups":[{"id":25},{"id":24},{"id":23}]},` +
	`"user":{"id":9,"username":"jdoe","roles_in_project":["guest","planner","reporter","developer","maintainer"]},` +
	`"environment":{"slug":"prod","tier":"production"}}`

func typicalJobs(token string) (*gitlab.AllowedAgents, error) {
	var id int64
	if _, err := fmt.Sscanf(token, "glcbt-64_%d", &id); err != nil {
		return nil, err
	}
	return gitlab.ParseAllowedAgents(fmt.Appendf(nil, typical, id))
}

// BenchmarkMemory_PerKnownJob fills the registry with as many jobs as it holds by default, each with a token of 40
// characters, and reports what one of them keeps in memory.
func BenchmarkMemory_PerKnownJob(b *testing.B) {
	const jobs = 65536
	for b.Loop() {
		before := heap()
		r, err := job.NewRegistry(&source{answer: typicalJobs}, job.Settings{
			FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: jobs, MaxRejected: 1,
			Timeout: time.Minute, Agents: served(4),
		}, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := range jobs {
			if _, err := r.Lookup(b.Context(), fmt.Sprintf("glcbt-64_%031d", i+1), time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/jobs, "bytes/job")
		runtime.KeepAlive(r)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLookupID_KnownJob is what every SubjectAccessReview of a known job costs the registry.
func BenchmarkLookupID_KnownJob(b *testing.B) {
	r, err := job.NewRegistry(&source{answer: typicalJobs}, job.Settings{
		FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: 1 << 16, MaxRejected: 1,
		Timeout: time.Minute, Agents: served(4),
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		if _, err := r.Lookup(b.Context(), fmt.Sprintf("glcbt-64_%d", i+1), time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.LookupID(b.Context(), 500); err != nil {
			b.Fatal(err)
		}
	}
}
