package gitlabtest_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
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
		change func(*gitlabtest.World)
		want   map[string]any
	}{
		{"in a group", nil, map[string]any{"o": "1", "u": "9", "p": "46", "g": "p"}},
		{"of another organization", func(w *gitlabtest.World) { w.Projects[0].Organization = 1000 },
			map[string]any{"o": "rs", "u": "9", "p": "46", "g": "p"}},
		{"in a personal namespace", func(w *gitlabtest.World) { w.Projects[0].Group = 0 },
			map[string]any{"o": "1", "u": "9", "p": "46"}},
		{"without user", func(w *gitlabtest.World) { w.Jobs[0].User = 0 },
			map[string]any{"o": "1", "p": "46", "g": "p"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := docsWorld("")
			w.Jobs[0].TokenFormat = "jwt"
			if test.change != nil {
				test.change(&w)
			}
			g := start(t, gitlabtest.Options{World: w, Now: func() time.Time { return begin }})
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
			filled := g.World()
			if !filled.Job(job).TokenExpires.Equal(begin.Add(defaultLifetime)) {
				t.Errorf("the world says %s", filled.Job(job).TokenExpires)
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
	w := docsWorld(openToProject)
	w.Jobs[0].TokenFormat, w.Settings.InstanceTokenPrefix = "jwt", "acme"
	g := startWorld(t, w)
	for _, step := range []struct {
		prefix string
		status int
	}{{"acme", http.StatusOK}, {"other", http.StatusUnauthorized}, {"", http.StatusUnauthorized}, {"acme", http.StatusOK}} {
		g.mustUpdate(func(w *gitlabtest.World) { w.Settings.InstanceTokenPrefix = step.prefix })
		if got := g.getAs(job, lookup); got.StatusCode != step.status {
			t.Errorf("with prefix %q: status %d, want %d", step.prefix, got.StatusCode, step.status)
		}
	}
}
