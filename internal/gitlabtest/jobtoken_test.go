package gitlabtest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const defaultLifetime = 65 * time.Minute

func TestJWTTokens_HaveTheClaimsOfGitLab(t *testing.T) {
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		change func(*gitlabtest.Instance)
		want   map[string]any
	}{
		{"in a group", nil, map[string]any{"o": "1", "u": "9", "p": "46", "g": "p"}},
		{"of another organization", func(w *gitlabtest.Instance) { w.Projects[0].Organization = 1000 },
			map[string]any{"o": "rs", "u": "9", "p": "46", "g": "p"}},
		{"in a personal namespace", func(w *gitlabtest.Instance) { w.Projects[0].Group = 0 },
			map[string]any{"o": "1", "u": "9", "p": "46"}},
		{"without user", func(w *gitlabtest.Instance) { w.Jobs[0].User = 0 },
			map[string]any{"o": "1", "p": "46", "g": "p"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example("")
			w.Jobs[0].TokenFormat = "jwt"
			if test.change != nil {
				test.change(&w)
			}
			g := start(t, gitlabtest.Options{Instance: w, Now: func() time.Time { return begin }})
			header, claims := parts(t, g.token(job))
			if header["alg"] != "RS256" || header["typ"] != "JWT" || len(header["kid"].(string)) != 43 {
				t.Errorf("header %v", header)
			}
			if len(claims["jti"].(string)) != 36 {
				t.Errorf("jti %v", claims["jti"])
			}
			delete(claims, "jti")
			test.want["version"], test.want["iss"], test.want["aud"] = "0.1.0", "127.0.0.1", "gitlab-authz-token"
			test.want["sub"] = "gid://gitlab/Ci::Build/1001"
			test.want["iat"], test.want["nbf"] = float64(begin.Unix()), float64(begin.Unix()-5)
			test.want["exp"] = float64(begin.Add(defaultLifetime).Unix())
			if diff := cmp.Diff(test.want, claims); diff != "" {
				t.Error(diff)
			}
			filled := g.Instance()
			if !filled.Job(job).TokenExpires.Equal(begin.Add(defaultLifetime)) {
				t.Errorf("the instance says %s", filled.Job(job).TokenExpires)
			}
		})
	}
}

// parts decodes a JWT job token without asking who signed it.
func parts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	segments := strings.Split(strings.TrimPrefix(token, "glcbt-"), ".")
	if len(segments) != 3 {
		t.Fatalf("%d segments", len(segments))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		raw, err := base64.RawURLEncoding.DecodeString(segments[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

func TestJWTTokens_FailOnceTheInstancePrefixChanges(t *testing.T) {
	w := example(openToProject)
	w.Jobs[0].TokenFormat, w.Settings.InstanceTokenPrefix = "jwt", "acme"
	g := startInstance(t, w)
	for _, step := range []struct {
		prefix string
		status int
	}{
		{"acme", http.StatusOK}, {"other", http.StatusUnauthorized}, {"", http.StatusUnauthorized}, {"acme", http.StatusOK},
	} {
		g.mustUpdate(func(w *gitlabtest.Instance) { w.Settings.InstanceTokenPrefix = step.prefix })
		if got := g.getAs(job, lookup); got.StatusCode != step.status {
			t.Errorf("with prefix %q: status %d, want %d", step.prefix, got.StatusCode, step.status)
		}
	}
}

func TestJWTTokens_AreJudgedBySignatureAndExpiry(t *testing.T) {
	now := clock{begin: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w := example(openToProject)
	w.Jobs[0].TokenFormat = "jwt"
	w.Jobs = append(w.Jobs,
		gitlabtest.Job{ID: 2, Project: project, User: developer, Status: "running", TokenFormat: "jwt",
			TokenExpires: now.begin.Add(-time.Minute)},
		gitlabtest.Job{ID: 3, Project: project, User: developer, Status: "running", TokenFormat: "jwt", Token: foreignJWT},
	)
	g := start(t, gitlabtest.Options{Instance: w, Now: now.read})
	good := g.token(job)
	tests := []struct {
		name   string
		token  string
		status int
	}{
		{"good", good, 200},
		{"expired", g.token(2), 401},
		{"signed by another", g.token(3), 401},
		{"tampered signature", good[:len(good)-8] + "AAAAAAAA", 401},
		{"tampered claims", strings.Replace(good, ".e", ".f", 1), 401},
		{"without prefix", strings.TrimPrefix(good, "glcbt-"), 401},
		{"of an instance prefix that is not set", "acme-" + good, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := g.get(lookup, "JOB-TOKEN", test.token); got.StatusCode != test.status {
				t.Errorf("status %d, want %d", got.StatusCode, test.status)
			}
		})
	}
	now.advance(64 * time.Minute)
	if got := g.get(lookup, "JOB-TOKEN", good); got.StatusCode != http.StatusOK {
		t.Errorf("a minute before its end: status %d", got.StatusCode)
	}
	now.advance(time.Minute)
	if got := g.get(lookup, "JOB-TOKEN", good); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("at its end: status %d", got.StatusCode)
	}
}

// foreignJWT names job 3 as its subject and ends in 2099; its signature is made up.
const foreignJWT = "glcbt-eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." +
	"eyJzdWIiOiJnaWQ6Ly9naXRsYWIvQ2k6OkJ1aWxkLzMiLCJleHAiOjQwNzA5MDg4MDB9.c2lnbmF0dXJl"

// clock is moved by hand.
type clock struct {
	begin  time.Time
	passed atomic.Int64
}

func (c *clock) read() time.Time { return c.begin.Add(time.Duration(c.passed.Load())) }

func (c *clock) advance(d time.Duration) { c.passed.Add(int64(d)) }
