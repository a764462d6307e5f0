package tokenreview_test

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/tokenreview"
)

// recorder stands at the registry's place and keeps what would have been looked up.
type recorder struct{ jobToken string }

func (r *recorder) Lookup(_ context.Context, c job.Credential) (job.Answer, error) {
	r.jobToken = c.Token
	return job.Answer{Job: &job.Job{
		ID: 1, PipelineID: 2, ProjectID: 3, UserID: 4, Username: "u",
		Agents: []job.Agent{{ID: 4, ConfigProjectID: 7, Configuration: &job.Configuration{AccessAs: job.AsCIJob}}},
	}}, nil
}

// grammar is the design's as one expression, but for the length, beside the parser that is written by hand.
var grammar = regexp.MustCompile(`^ci:([1-9][0-9]{0,18}):([A-Za-z0-9._~+/=-]+)$`)

// FuzzAuthenticateToken: only what the grammar allows is looked up, exactly the job token is, and no error repeats it.
func FuzzAuthenticateToken(f *testing.F) {
	for _, seed := range []string{
		"ci:4:glcbt-64_AbCdEfGhIjKlMnOpQrSt", "ci:4:", "ci::x", "ci:04:x", "ci:4:a:b", "pat:4:glpat-x", "ci:9223372036854775808:x",
		"ci:4:glcbt-eyJhbGciOiJub25lIn0.eyJleHAiOjF9.", "ci:4:eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2ln", "ci:4:a\r\nb", "", "ci:",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		jobs := &recorder{}
		response, ok, err := tokenreview.New(jobs, configOf(tokenreview.Agent{ID: 4}), decision.NewLog(nil, nil)).AuthenticateToken(t.Context(), token)
		parts := grammar.FindStringSubmatch(token)
		if jobs.jobToken != "" && (parts == nil || len(parts[2]) > 16384 || parts[1] != "4" || parts[2] != jobs.jobToken) {
			t.Fatal("a token that breaks the grammar, or a part of one, was looked up")
		}
		if ok != (jobs.jobToken != "") || ok != (response != nil) {
			t.Fatalf("ok is %t, looked up is %t", ok, jobs.jobToken != "")
		}
		if !strings.HasPrefix(token, "ci:") {
			if err != nil {
				t.Fatalf("another authenticator's token: %v", err)
			}
			return
		}
		var rejected *tokenreview.RejectedError
		if !ok && !errors.As(err, &rejected) {
			t.Fatalf("neither an identity nor a rejection: %v", err)
		}
		// A well-formed agent id is no secret, and messages name it.
		if rejected != nil && parts == nil && len(token) > 20 && strings.Contains(rejected.Error(), strconv.Quote(token)[1:20]) {
			t.Fatal("the error repeats the token")
		}
	})
}

func BenchmarkAuthenticateToken_KnownJob(b *testing.B) {
	a := tokenreview.New(&recorder{}, configOf(tokenreview.Agent{ID: 4}), decision.NewLog(nil, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := a.AuthenticateToken(b.Context(), "ci:4:glcbt-64_AbCdEfGhIjKlMnOpQrSt"); !ok || err != nil {
			b.Fatal(err)
		}
	}
}
