package gitlabtest_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// busyInstance is example with that many running jobs more.
func busyInstance(jobs int, format string) gitlabtest.Instance {
	w := example(entry("groups", "group1", ", access_as: {ci_job: {}}, environments: ['prod*']"))
	for i := range jobs {
		w.Jobs = append(w.Jobs, gitlabtest.Job{
			ID: int64(2000 + i), Project: project, User: developer, Status: "running", Environment: "prod", TokenFormat: format,
		})
	}
	return w
}

// BenchmarkLookup measures the fake and the client beside it, which share the machine.
func BenchmarkLookup(b *testing.B) {
	for _, format := range []string{"database", "jwt"} {
		b.Run(fmt.Sprintf("format %q", format), func(b *testing.B) {
			s := gitlabtest.New(b, busyInstance(map[string]int{"database": 5000, "jwt": 50}[format], format))
			w := s.Instance()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			b.RunParallel(func(p *testing.PB) {
				for i := 0; p.Next(); i++ {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, s.URL()+"/api/v4"+lookup, nil)
					if err != nil {
						b.Error(err)
						return
					}
					r.Header.Set("JOB-TOKEN", w.Jobs[i%len(w.Jobs)].Token)
					response, err := client.Do(r)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK {
						b.Errorf("%s, %v", response.Status, err)
					}
					response.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	s := gitlabtest.New(b, busyInstance(5000, "database"))
	for b.Loop() {
		if err := s.Update(func(w *gitlabtest.Instance) { w.Job(job).Pipeline.ID++ }); err != nil {
			b.Fatal(err)
		}
	}
}
