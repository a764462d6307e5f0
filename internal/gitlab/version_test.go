package gitlab_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// GitLab is known by its own words, whether or not it may tell its release.
func TestVersion(t *testing.T) {
	answering := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	rows := []struct {
		name     string
		answer   http.HandlerFunc
		want     string
		isGitLab bool
	}{
		{name: "a release", answer: answering(200, "application/json", `{"version":"18.6.1","revision":"x"}`), want: "18.6.1", isGitLab: true},
		{name: "no permission", answer: answering(401, "application/json", `{"message":"401 Unauthorized"}`), isGitLab: true},
		{name: "a GitLab without the endpoint", answer: answering(404, "application/json", `{"error":"404 Not Found"}`), isGitLab: true},
		{name: "a gateway", answer: answering(404, "application/json", `{"message":"no Route matched with those values"}`)},
		{name: "a login page", answer: answering(200, "text/html", `<html>`)},
		{name: "a proxy", answer: answering(502, "text/html", `<html>`)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := httptest.NewServer(row.answer)
			defer s.Close()
			c, err := gitlab.New(gitlab.Options{
				URL: s.URL, Timeout: 5 * time.Second, MaxInFlight: 8, RequestsPerSecond: 1e4, Burst: 1e4, RetryInterval: time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := c.Version(t.Context())
			if got != row.want || (err == nil) != row.isGitLab {
				t.Errorf("version %q, error %v", got, err)
			}
		})
	}
}

func TestVersion_OfTheFake(t *testing.T) {
	s := gitlabtest.New(t, gitlabtest.Instance{})
	c, err := gitlab.New(gitlab.Options{URL: s.URL(), Timeout: 5 * time.Second, MaxInFlight: 8, RequestsPerSecond: 1e4, Burst: 1e4})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Version(t.Context()); err != nil {
		t.Error(err)
	}
}
