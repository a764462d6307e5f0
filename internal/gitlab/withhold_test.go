package gitlab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// tokens are of the shapes that GitLab has, and one that could be a slug.
var tokens = map[string]string{
	"partitioned":  "glcbt-64_Ab1Cd2Ef3Gh4Ij5Kl6Mn",
	"JWT":          "glcbt-eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJnaXRsYWIiLCJleHAiOjE3fQ.c2lnbmF0dXJlLW9mLTI1Ni1ieXRlcw",
	"like a slug":  "glcbt-64-ab1cd2ef3gh4ij5kl6mn",
	"a number":     "12345678901234567890",
	"short legacy": "ab1cd2ef3gh4",
}

// repeating are answers that repeat the token, which stands for %[1]s.
var repeating = []struct {
	name        string
	status      int
	contentType string
	body        string
}{
	{name: "in a refusal", status: 401, contentType: jsonType, body: `{"message":"401 Unauthorized: %[1]s"}`},
	{name: "in a refusal, at the cut", status: 401, contentType: jsonType, body: `{"message":"401 ` + strings.Repeat("x", 242) + `%[1]s"}`},
	{name: "in a refusal, escaped", status: 403, contentType: jsonType, body: `{"message":"403 \u0025[1]s %[1]s"}`},
	{name: "in a gateway's message", status: 403, contentType: jsonType, body: `{"message":"%[1]s"}`},
	{name: "in a page", status: 500, contentType: "text/html", body: `<p>%[1]s</p>`},
	{name: "in the media type", status: 200, contentType: "text/%[1]s", body: `{}`},
	{name: "in a media type's parameter", status: 200, contentType: `text/html; token="%[1]s"`, body: `{}`},
	{name: "in the slug", status: 200, contentType: jsonType, body: with(`{"job"`, `{"environment":{"slug":"%[1]s","tier":"other"},"job"`)},
	{name: "in the tier", status: 200, contentType: jsonType, body: with(`{"job"`, `{"environment":{"slug":"a","tier":"%[1]s"},"job"`)},
	{name: "in the user's name", status: 200, contentType: jsonType, body: with(`"u"`, `"%[1]s"`)},
	{name: "in a role", status: 200, contentType: jsonType, body: with(`"username":"u"`, `"username":"u","roles_in_project":["%[1]s"]`)},
	{name: "in an agent's configuration", status: 200, contentType: jsonType,
		body: with(`{"job"`, `{"allowed_agents":[{"id":4,"configuration":{"environments":["%[1]s"]}}],"job"`)},
	{name: "in a key", status: 200, contentType: jsonType, body: with(`{"job"`, `{"%[1]s":1,"job"`)},
	{name: "in a field of another type", status: 200, contentType: jsonType, body: with(`"id":3`, `"id":"%[1]s"`)},
	{name: "behind the reply", status: 200, contentType: jsonType, body: minimal + `%[1]s`},
	{name: "as the whole body", status: 200, contentType: jsonType, body: `%[1]s`},
}

func TestWithheld_NothingRepeatsTheToken(t *testing.T) {
	for _, row := range repeating {
		for shape, token := range tokens {
			t.Run(row.name+", "+shape, func(t *testing.T) {
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", strings.ReplaceAll(row.contentType, "%[1]s", token))
					w.WriteHeader(row.status)
					_, _ = w.Write([]byte(strings.ReplaceAll(row.body, "%[1]s", token)))
				}))
				defer s.Close()
				j, err := newClient(t, s.URL, nil).Identify(t.Context(), token, nil, job.Logins)
				if err == nil {
					text, _ := json.Marshal(j)
					t.Fatalf("no error; job has %d bytes", len(text))
				}
				text := strings.ToLower(fmt.Sprintf("%v %+v %#v", err, err, err))
				for i := 0; i+10 <= len(token); i++ {
					if strings.Contains(text, strings.ToLower(token[i:i+10])) {
						t.Fatal("the error repeats ten characters of the token")
					}
				}
			})
		}
	}
}

// A refusal stays a refusal without its words.
func TestWithheld_RefusalStaysDefinite(t *testing.T) {
	token := tokens["partitioned"]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"message":"401 Unauthorized: %s"}`, token)
	}))
	defer s.Close()
	if _, err := newClient(t, s.URL, nil).Identify(t.Context(), token, nil, job.Logins); rejection(err) != job.NotRunning {
		t.Errorf("error is %v, want a rejection", err)
	}
}

// The access token is in no error either, whatever is asked with it.
func TestWithheld_AccessToken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		if strings.Contains(r.URL.Path, "groups") {
			w.WriteHeader(http.StatusForbidden)
		}
		fmt.Fprintf(w, `{"message":"403 Forbidden: %s","status":"%[1]s"}`, r.Header.Get("PRIVATE-TOKEN"))
	}))
	defer s.Close()
	c := newClient(t, s.URL, withAccess)
	rows := map[string]func(context.Context) error{
		"groups": func(ctx context.Context) error { _, err := c.Groups(ctx, 150, job.Logins); return err },
		"status": func(ctx context.Context) error { _, err := c.Status(ctx, 150, jobID, job.Logins); return err },
		"protected": func(ctx context.Context) error {
			_, err := c.RefProtected(ctx, "", on(job.Branch, "main"))
			return err
		},
	}
	for name, ask := range rows {
		t.Run(name, func(t *testing.T) {
			err := ask(t.Context())
			if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), accessToken) {
				t.Errorf("error is nil, or repeats the token")
			}
		})
	}
}

func TestNew_ReadsTheAccessTokenAsAFilesLine(t *testing.T) {
	rows := []struct {
		name string
		file string
		has  bool
		bad  bool
	}{
		{name: "absent", file: ""},
		{name: "only a line end", file: "\n"},
		{name: "bare", file: accessToken, has: true},
		{name: "with a line end", file: accessToken + "\n", has: true},
		{name: "with a line end of Windows", file: accessToken + "\r\n", has: true},
		{name: "with a prefix of the administrator's", file: "acme:" + accessToken, has: true},
		{name: "blank behind it", file: accessToken + " ", bad: true},
		{name: "blank before it", file: "\t" + accessToken, bad: true},
		{name: "two lines", file: accessToken + "\nJOB-TOKEN: x", bad: true},
		{name: "byte order mark", file: "\ufeff" + accessToken, bad: true},
		{name: "no text", file: accessToken + "\x00", bad: true},
		{name: "not UTF-8", file: accessToken + "\xff", bad: true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			c, err := gitlab.New(gitlab.Options{URL: "https://gitlab.example.com", AccessToken: row.file})
			if (err != nil) != row.bad {
				t.Fatalf("error is %v", err)
			}
			if row.bad {
				if strings.Contains(err.Error(), accessToken) {
					t.Error("the error repeats the token")
				}
				return
			}
			if c.CanAsk() != row.has {
				t.Errorf("client can ask: %t, want %t", c.CanAsk(), row.has)
			}
		})
	}
}
