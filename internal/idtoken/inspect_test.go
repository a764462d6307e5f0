package idtoken_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

// What is not verified can be anyone's, so nothing but what it says is returned, and nothing of it is repeated.
func TestInspect(t *testing.T) {
	const claims = `{"iss":"https://gitlab.example.com","aud":"prod","exp":4102444800,"job_id":"1001","pipeline_id":"501","job_project_id":"150",` +
		`"user_login":"jdoe","ref":"main","ref_type":"branch","project_id":`
	token := func(payload string) string {
		encode := base64.RawURLEncoding.EncodeToString
		return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + "." + encode([]byte("no signature"))
	}
	says := idtoken.Statement{
		Issuer: "https://gitlab.example.com", Audience: "prod", Expires: time.Unix(4102444800, 0), JobID: 1001, ProjectID: 150,
	}
	fork, mergeRequest := says, says
	fork.IsFork, fork.IsMergeRequest, mergeRequest.IsMergeRequest = true, true, true
	for _, row := range []struct {
		name, token string
		want        idtoken.Statement
		refused     string
	}{
		{name: "a branch", token: token(claims + `"150"}`), want: says},
		{name: "a fork", token: token(claims + `"666"}`), want: fork},
		{name: "a merge request", token: token(claims + `"150","pipeline_source":"merge_request_event"}`), want: mergeRequest},
		{name: "no end", token: token(strings.Replace(claims, `"exp":4102444800,`, "", 1) + `"150"}`), refused: "when it ends"},
		{name: "a person's", token: token(`{"iss":"https://gitlab.example.com","aud":"prod","exp":4102444800}`), refused: "not a CI job's"},
		{name: "a claim twice", token: token(claims + `"150","job_id":"1"}`), refused: "a claim twice"},
		{name: "no JSON", token: token("secret"), refused: "not of the form"},
		{name: "two parts", token: "a.b", refused: "three parts"},
		{name: "too long", token: strings.Repeat("a", 16385), refused: "longer than 16384"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := idtoken.Inspect(row.token)
			var rejected *job.RejectedError
			if errors.As(err, &rejected) != (row.refused != "") || (rejected != nil && !strings.Contains(rejected.Message, row.refused)) {
				t.Fatalf("error is %v, want %q in it", err, row.refused)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("it says (-want +got):\n%s", diff)
			}
		})
	}
}
