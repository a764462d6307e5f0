package job_test

import (
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/job"
)

// typicalJobs are as GitLab describes them: three groups, an environment, five roles, one agent.
func typicalJobs(token string) (*job.Job, error) {
	var id int64
	if _, err := fmt.Sscanf(token, "glcbt-64_%d", &id); err != nil {
		return nil, err
	}
	return &job.Job{
		ID: id, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups:      job.KnownFact([]int64{25, 24, 23}),
		Roles:       job.KnownFact([]string{"guest", "planner", "reporter", "developer", "maintainer"}),
		Environment: job.Environment{Slug: "prod", Tier: "production"},
		Agents:      []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: &job.Configuration{AccessAs: job.AsCIJob}}},
	}, nil
}

// BenchmarkMemory_PerKnownJob fills the registry with as many jobs as it holds by default, each with a token of 40
// characters, and reports what one of them keeps in memory.
func BenchmarkMemory_PerKnownJob(b *testing.B) {
	const jobs = 65536
	for b.Loop() {
		before := heap()
		r, err := job.NewRegistry((&source{answer: typicalJobs}).sources(), job.Settings{
			FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: jobs, MaxRejected: 1,
			Timeout: time.Minute, Needs: noNeeds,
		}, nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := range jobs {
			if _, err := r.Lookup(b.Context(), jobToken(fmt.Sprintf("glcbt-64_%031d", i+1))); err != nil {
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

// BenchmarkLookupID_KnownJobs is what every SubjectAccessReview costs the registry with that many known jobs, which take
// turns.
func BenchmarkLookupID_KnownJobs(b *testing.B) {
	for _, jobs := range []int{1, 16, 256, 1024, 4096, 16384, 65536} {
		b.Run(strconv.Itoa(jobs), func(b *testing.B) {
			r, err := job.NewRegistry((&source{answer: typicalJobs}).sources(), job.Settings{
				FreshFor: time.Hour, StaleFor: time.Hour, RejectedFor: time.Hour, MaxJobs: 1 << 16, MaxRejected: 1,
				Timeout: time.Minute, Needs: noNeeds,
			}, nil)
			if err != nil {
				b.Fatal(err)
			}
			for i := range jobs {
				if _, err := r.Lookup(b.Context(), jobToken(fmt.Sprintf("glcbt-64_%d", i+1))); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := r.LookupID(b.Context(), byID(int64(i%jobs+1))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
