package gitlab_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// recorder notes the request lines of the questions asked of it and finds nothing.
func recorder(f *testing.F) (c *gitlab.Client, asked func() []string) {
	f.Helper()
	lines := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines <- r.RequestURI
		w.Header().Set("Content-Type", jsonType)
		missing := "404 Not Found"
		switch {
		case r.URL.RawQuery != "":
			fmt.Fprint(w, "[]")
			return
		case strings.Contains(r.RequestURI, "/tags/"):
			missing = "404 Tag Not Found"
		case strings.Contains(r.RequestURI, "/branches/"):
			missing = "404 Branch Not Found"
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, `{"message":%q}`, missing)
	}))
	f.Cleanup(server.Close)
	c, err := gitlab.New(gitlab.Options{
		URL: server.URL + "/gitlab", Timeout: time.Minute, MaxInFlight: 8, RequestsPerSecond: 1e9, Burst: 1e9, AccessToken: accessToken,
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return c, func() []string {
		var all []string
		for {
			select {
			case line := <-lines:
				all = append(all, line)
			default:
				return all
			}
		}
	}
}

// FuzzNames: whatever a ref or an environment is called, the request goes to the endpoint meant, and the name arrives as
// it is.
func FuzzNames(f *testing.F) {
	for i, name := range []string{
		"main", "feature/x", "feature/a b?c", "../..", "..", ".", "", "/", "//", "a//b", "/a", "a/", "%2E%2E", "..%2f..", "%", "%zz", "#", "?",
		"a?b#c", "&page=2&search=x", ":id", `..\..`, "\x00", "\r\nHost: x", "\xff", "é", "a$b", "^a*", ";", "+", strings.Repeat("a", 1025),
	} {
		f.Add(name, int64(i))
	}
	c, asked := recorder(f)
	base := []string{"", "gitlab", "api", "v4", "projects"}
	at := func(kind job.RefType, project int64, name string) *job.Job {
		return &job.Job{
			ID: 1, ProjectID: project, Ref: job.Ref{Type: kind, Name: name},
			Environment: job.Environment{Slug: "a", Name: job.KnownFact(name)},
		}
	}
	f.Fuzz(func(t *testing.T, name string, project int64) {
		ctx := context.WithoutCancel(t.Context())
		questions := []struct {
			ask   func()
			want  []string // the decoded segments behind the project's id
			query string   // the name, where it is in the query
		}{
			{func() { _, _ = c.RefProtected(ctx, "", at(job.Branch, project, name)) }, []string{"repository", "branches", name}, ""},
			{func() { _, _ = c.RefProtected(ctx, "", at(job.Tag, project, name)) }, []string{"repository", "tags", name}, ""},
			{func() { _, _ = c.EnvironmentProtected(ctx, at("", project, name)) }, []string{"protected_environments", name}, ""},
			{func() { _, _ = c.EnvironmentNamed(ctx, "", at("", project, ""), name) }, []string{"environments"}, name},
		}
		for _, q := range questions {
			asked()
			q.ask()
			lines := asked()
			if name == "" || len(name) > 1024 {
				if len(lines) != 0 {
					t.Errorf("asked %q about a name that nothing has", lines)
				}
				continue
			}
			if len(lines) == 0 && q.query == "" {
				continue // the answer is shared
			}
			if len(lines) != 1 {
				t.Fatalf("asked %q, want one question", lines)
			}
			checkLine(t, lines[0], slices.Concat(base, []string{fmt.Sprint(project)}, q.want), q.query)
		}
	})
}

func checkLine(t *testing.T, line string, want []string, name string) {
	t.Helper()
	raw, query, _ := strings.Cut(line, "?")
	if raw != path.Clean(raw) || strings.ContainsAny(raw, `\;#`+"\r\n\x00") {
		t.Errorf("path %q can be read in another way", raw)
	}
	segments := strings.Split(raw, "/")
	for i, s := range segments {
		var err error
		if segments[i], err = url.PathUnescape(s); err != nil {
			t.Errorf("segment %q: %v", s, err)
		}
	}
	if !slices.Equal(want, segments) {
		t.Errorf("path is %q, want %q", segments, want)
	}
	values, err := url.ParseQuery(query)
	if err != nil || values.Get("name") != name || (name == "") != (query == "") || len(values) > 1 {
		t.Errorf("query is %q, %v; want the name %q", query, err, name)
	}
}
