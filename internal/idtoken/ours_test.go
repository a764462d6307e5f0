package idtoken_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/idtoken"
)

func TestOurs(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	good := f.token(t, nil)
	rows := []struct {
		name, token string
		want        bool
	}{
		{name: "ours", token: good, want: true},
		{name: "among several audiences", token: f.token(t, map[string]any{"aud": []string{"x", audience}}), want: true},
		{name: "expired", token: f.token(t, map[string]any{"exp": 1}), want: true},
		{name: "not signed by GitLab", token: good[:strings.LastIndex(good, ".")] + ".AAAA", want: true},
		{name: "brackets in texts", token: f.token(t, map[string]any{"x": strings.Repeat(`"[\[{`, 100)}), want: true},
		{name: "many lists", token: f.token(t, map[string]any{"x": make([][]string, 100)}), want: true},
		{name: "as deep as may be", token: f.token(t, map[string]any{"x": nested(31)}), want: true},
		{name: "deeper", token: f.token(t, map[string]any{"x": nested(32)})},
		{name: "thousands of levels", token: f.token(t, map[string]any{"x": nested(9000)})},
		{name: "thousands of audiences in each other", token: f.token(t, map[string]any{"aud": nested(9000)})},
		{name: "of another audience", token: f.token(t, map[string]any{"aud": "vault"})},
		{name: "of another issuer", token: f.token(t, map[string]any{"iss": "https://gitlab.com"})},
		{name: "an issuer with a slash", token: f.token(t, map[string]any{"iss": f.gitlab.URL() + "/"})},
		{name: "no audience", token: f.token(t, map[string]any{"aud": nil})},
		{name: "ServiceAccount", token: "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2ln"},
		{name: "no JWT", token: "glpat-x"},
		{name: "two parts", token: "eyJhbGciOiJSUzI1NiJ9.e30"},
		{name: "no JSON", token: "a.b.c"},
		{name: "nothing", token: ""},
		{name: "a mebibyte", token: f.token(t, map[string]any{"x": strings.Repeat("x", 1<<20)})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, ours := f.Ours(row.token); ours != row.want {
				t.Errorf("ours is %t, want %t", ours, row.want)
			}
		})
	}
	f.Configure(idtoken.Config{Issuer: f.gitlab.URL()}, f.client)
	if _, ours := f.Ours(good); ours {
		t.Error("a token is ours while there is no audience")
	}
	if calls := f.gitlab.Calls(gitlabtest.AnyEndpoint); calls != 0 {
		t.Errorf("GitLab was asked %d times", calls)
	}
}

func nested(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}
