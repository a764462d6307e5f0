package gitlab_test

import (
	"context"
	"errors"
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
)

// recorder notes the request lines of the questions asked of it and finds nothing.
func recorder(f *testing.F) (c *gitlab.Client, asked func() []string) {
	f.Helper()
	lines := make(chan string, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines <- r.RequestURI
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Has("page"):
			fmt.Fprint(w, "[]")
		case strings.Contains(r.RequestURI, "/tags/"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"404 Tag Not Found"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"404 Branch Not Found"}`)
		}
	}))
	f.Cleanup(server.Close)
	c, err := gitlab.New(gitlab.Options{
		URL: server.URL + "/gitlab", Timeout: time.Minute, MaxInFlight: 1, RequestsPerSecond: 1e9, Burst: 1e9, AccessToken: accessToken,
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

// FuzzProtection_NameNeverChangesTheQuestion: whatever a ref is called, the request goes to the endpoint meant, and the
// name arrives as it is.
func FuzzProtection_NameNeverChangesTheQuestion(f *testing.F) {
	for _, name := range []string{
		"main", "feature/x", "feature/a b?c", "../..", "..", ".", "", "/", "//", "a//b", "/a", "a/", "%2E%2E", "..%2f..", "%", "%zz", "#", "?",
		"a?b#c", "&page=2&search=x", ":id", `..\..`, "\x00", "\r\nHost: x", "\xff", "é", "a$b", "^a*", ";", "+", strings.Repeat("a", 1025),
	} {
		f.Add(name, int64(150))
	}
	c, asked := recorder(f)
	base := []string{"", "gitlab", "api", "v4", "projects"}
	f.Fuzz(func(t *testing.T, name string, project int64) {
		questions := []struct {
			ask  func(context.Context) error
			want []string // the decoded segments behind the project's id
		}{
			{func(ctx context.Context) error {
				_, err := c.BranchProtected(ctx, c.Access(), project, name)
				return err
			},
				[]string{"repository", "branches", name}},
			{func(ctx context.Context) error { _, err := c.TagProtected(ctx, c.Access(), project, name); return err },
				[]string{"repository", "tags", name}},
			{func(ctx context.Context) error { _, err := c.BranchListed(ctx, "t", project, name); return err },
				[]string{"repository", "branches"}},
			{func(ctx context.Context) error {
				_, err := c.EnvironmentName(ctx, c.Access(), project, name)
				return err
			},
				[]string{"environments"}},
		}
		for _, q := range questions {
			if err := q.ask(t.Context()); !errors.Is(err, gitlab.ErrNotFound) {
				t.Fatalf("error is %v, want not found", err)
			}
			lines := asked()
			if name == "" || len(name) > 1024 {
				if len(lines) != 0 {
					t.Errorf("asked %q about a name that nothing has", lines)
				}
				continue
			}
			if len(lines) != 1 {
				t.Fatalf("asked %q, want one question", lines)
			}
			want := slices.Concat(base, []string{fmt.Sprint(project)}, q.want)
			checkLine(t, lines[0], want, name)
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
	if err != nil {
		t.Errorf("query %q: %v", query, err)
	}
	for key, v := range values {
		if !slices.Contains([]string{"page", "per_page", "search"}, key) || len(v) != 1 {
			t.Errorf("query %q has another parameter", query)
		}
	}
	if search, searched := strings.CutPrefix(values.Get("search"), "^"); searched && !strings.HasPrefix(name, search) {
		t.Errorf("searched for %q, which %q does not begin with", search, name)
	}
}
