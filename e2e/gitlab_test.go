package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func updateGitLab(t *testing.T, change func(*gitlabtest.Instance)) {
	t.Helper()
	if err := site.GitLab.Update(change); err != nil {
		t.Fatal(err)
	}
}

// unwell makes GitLab fail as given until the test ends or the returned function is called.
func unwell(t *testing.T, fault gitlabtest.Fault) (recover func()) {
	t.Helper()
	site.GitLab.Fault(fault)
	t.Cleanup(site.GitLab.ClearFaults)
	return site.GitLab.ClearFaults
}

func jobByID(t *testing.T, id int64) gitlabtest.Job {
	t.Helper()
	gitlab := site.GitLab.Instance()
	j := gitlab.Job(id)
	if j == nil {
		t.Fatalf("GitLab has no job %d", id)
	}
	return *j
}

// gitlabHeard says whether any request that GitLab received contains the text anywhere.
func gitlabHeard(text string) bool {
	for _, request := range site.GitLab.Requests(gitlabtest.AnyEndpoint) {
		if strings.Contains(fmt.Sprint(request), text) {
			return true
		}
	}
	return false
}

func wantCalls(t *testing.T, want int) {
	t.Helper()
	if got := site.GitLab.Calls(gitlabtest.AnyEndpoint); got != want {
		t.Errorf("GitLab was called %d times, want %d", got, want)
	}
}

// shownTokens maps the bearer tokens that tests used, besides those of GitLab's jobs, to the tests' names.
var shownTokens sync.Map

func noteToken(t *testing.T, token string) { shownTokens.Store(token, t.Name()) }

// allTokens maps all secrets that jobgate may have met to their owners.
func allTokens() map[string]string {
	gitlab, tokens := site.GitLab.Instance(), map[string]string{}
	for _, j := range gitlab.Jobs {
		tokens[j.Token] = fmt.Sprintf("job %d", j.ID)
	}
	for i, token := range gitlab.Tokens {
		tokens[token.Token] = fmt.Sprintf("access token %d", i)
	}
	shownTokens.Range(func(token, owner any) bool {
		tokens[token.(string)] = owner.(string)
		return true
	})
	return tokens
}
