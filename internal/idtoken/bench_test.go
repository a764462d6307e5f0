package idtoken_test

import (
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

// The contract asks for at most 1 ms and no call to GitLab for a first login without liveness. The calls are counted while
// the keys and the project's groups are known.
func BenchmarkIdentify_FirstLogin(b *testing.B) {
	for name, bits := range map[string]int{"2048 bits": 2048, "4096 bits": 4096} {
		b.Run(name, func(b *testing.B) {
			f, token := benchmarked(b, bits)
			for b.Loop() {
				if _, err := f.identify(token); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(f.gitlab.Calls(gitlabtest.AnyEndpoint))/float64(b.N), "calls/op")
		})
	}
}

func BenchmarkIdentify_KnownToken(b *testing.B) {
	f, token := benchmarked(b, 2048)
	known, err := f.identify(token)
	if err != nil {
		b.Fatal(err)
	}
	f.gitlab.ResetCalls()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Identify(b.Context(), token, known, job.Refreshes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(f.gitlab.Calls(gitlabtest.AnyEndpoint))/float64(b.N), "calls/op")
}

func benchmarked(b *testing.B, bits int) (*fixture, string) {
	b.Helper()
	f := newFixture(b, instance(), accessToken)
	if err := f.gitlab.RotateSigningKey(bits); err != nil {
		b.Fatal(err)
	}
	f.Configure(idtoken.Config{URL: f.gitlab.URL(), Issuer: f.gitlab.URL(), Audience: audience}, f.client)
	token := f.token(b, map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	if _, err := f.identify(token); err != nil {
		b.Fatal(err)
	}
	f.gitlab.ResetCalls()
	return f, token
}
