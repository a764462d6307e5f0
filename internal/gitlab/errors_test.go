package gitlab_test

import (
	"errors"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
)

func TestRequestError_CountsAttempts(t *testing.T) {
	for attempts, want := range map[int]string{
		1: "ask GitLab: GET https://gitlab/api/v4/job: EOF (1 attempt)",
		5: "ask GitLab: GET https://gitlab/api/v4/job: EOF (5 attempts)",
	} {
		err := &gitlab.RequestError{URL: "https://gitlab/api/v4/job", Attempts: attempts, Err: errors.New("EOF")}
		if got := err.Error(); got != want {
			t.Errorf("%d: %q, not %q", attempts, got, want)
		}
	}
}
