package tokenreview_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/tokenreview"
)

// The vectors of KAS for what comes after "Bearer ". Where jobgate decides otherwise, the row says so.
func TestAuthenticateToken_Grammar(t *testing.T) {
	const foreign, accepted = tokenreview.Reason("foreign"), tokenreview.Reason("accepted")
	rows := []struct {
		name, credential string
		want             tokenreview.Reason
	}{
		{"KAS 4: no colon, which KAS rejects", "asdfadsf", foreign},
		{"KAS 5: id is a word, which names a cluster", "ci:asdf:as", tokenreview.ReasonUnknownCluster},
		{"KAS 6: empty token", "ci:123:", tokenreview.ReasonMalformed},
		{"KAS 7: unknown type, which KAS rejects", "blabla:1:asd", foreign},
		{"KAS 8: personal token type, which KAS knows", "pat:asdf:as", foreign},
		{"KAS 10: good", "ci:123:asdfgasdfxadf", accepted},
		{"KAS 11: personal access token, which KAS accepts", "pat:123:glpat-asdfgasdfxadf", foreign},
		{"KAS 15: blank before the type", " ci:123:abc", foreign},
		{"KAS 16: type in capitals", "CI:123:abc", foreign},
		{"KAS 17: no type", ":123:abc", foreign},
		{"KAS 18: type alone", "ci", foreign},
		{"KAS 18: type and colon", "ci:", tokenreview.ReasonMalformed},
		{"KAS 18: no token", "ci:123", tokenreview.ReasonMalformed},
		{"KAS 20: empty id", "ci::abc", tokenreview.ReasonMalformed},
		{"KAS 21: blank in the id", "ci: 123:abc", tokenreview.ReasonMalformed},
		{"KAS 22: fraction", "ci:123.0:abc", tokenreview.ReasonMalformed},
		{"KAS 22: hexadecimal", "ci:0x7b:abc", tokenreview.ReasonMalformed},
		{"KAS 22: underscore", "ci:1_23:abc", tokenreview.ReasonMalformed},
		{"KAS 23: one too large", "ci:9223372036854775808:abc", tokenreview.ReasonMalformed},
		{"the largest", "ci:9223372036854775807:abc", tokenreview.ReasonUnknownAgent},
		{"KAS 24: word and empty token", "ci:x:", tokenreview.ReasonMalformed},
		{"KAS 25: negative, which KAS parses", "ci:-123:abc", tokenreview.ReasonMalformed},
		{"KAS 26: zero, which KAS parses", "ci:0:abc", tokenreview.ReasonMalformed},
		{"KAS 27: plus sign, which KAS takes for 123", "ci:+123:abc", tokenreview.ReasonMalformed},
		{"KAS 27: leading zero, which KAS takes for 123", "ci:0123:abc", tokenreview.ReasonMalformed},
		{"KAS 28: colons in the token, which KAS accepts", "ci:123:a:b:c", tokenreview.ReasonMalformed},
		{"KAS 29: blank in the token, which KAS accepts", "ci:123:a b", tokenreview.ReasonMalformed},
		{"KAS 30: swapped, which KAS repeats to client and log", "ci:glcbt-64_SecretSecretSecret:123", tokenreview.ReasonMalformed},
		{"line break in the token", "ci:123:abc\r\nX: 1", tokenreview.ReasonMalformed},
		{"NUL in the token", "ci:123:abc\x00", tokenreview.ReasonMalformed},
		{"letters outside of ASCII", "ci:123:abcäöü", tokenreview.ReasonMalformed},
		{"digits outside of ASCII", "ci:１２３:abc", tokenreview.ReasonMalformed},
		{"every character of a token", "ci:123:Az09._~+/=-", accepted},
		{"longest token", "ci:123:" + strings.Repeat("a", 16384), accepted},
		{"token one too long", "ci:123:" + strings.Repeat("a", 16385), tokenreview.ReasonMalformed},
		{"a mebibyte of token", "ci:123:" + strings.Repeat("a", 1<<20), tokenreview.ReasonMalformed},
		{"a mebibyte of id", "ci:" + strings.Repeat("1", 1<<20) + ":abc", tokenreview.ReasonMalformed},
		{"empty", "", foreign},
		{"service account", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2ln", foreign},
		{"other agent", "ci:124:abc", tokenreview.ReasonUnknownAgent},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID})
			b.reply(gitlabReply("", ""))
			calls := 0
			switch row.want {
			case accepted:
				if _, ok, err := b.AuthenticateToken(b.ctx, row.credential); !ok || err != nil {
					t.Errorf("ok is %t, error is %v", ok, err)
				}
				calls = 1
			case foreign:
				if response, ok, err := b.AuthenticateToken(b.ctx, row.credential); response != nil || ok || err != nil {
					t.Errorf("response is %+v, ok is %t, error is %v; want no opinion", response, ok, err)
				}
				if b.log.Len() > 0 {
					t.Errorf("another authenticator's token left a line in the log: %s", b.log)
				}
			default:
				wantRejected(t, b, row.credential, row.want)
			}
			if got := b.gitlab.Calls(gitlabtest.AnyEndpoint); got != calls {
				t.Errorf("GitLab was asked %d times, want %d", got, calls)
			}
			if _, ok, err := b.AuthenticateToken(b.ctx, "ci:123:"+token); !ok || err != nil {
				t.Errorf("the next good token: ok is %t, error is %v", ok, err)
			}
		})
	}
}

func TestAuthenticateToken_JWTsOwnExpiry(t *testing.T) {
	now := time.Now()
	rows := []struct {
		name    string
		prefix  string
		claims  jwt.Claims
		expired bool
	}{
		{"live", "glcbt-", jwt.MapClaims{"exp": now.Add(time.Hour).Unix()}, false},
		{"expired", "glcbt-", jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}, true},
		{"expired, with an instance prefix", "our-gitlab-glcbt-", jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()}, true},
		{"expired, without a prefix", "", jwt.MapClaims{"exp": now.Add(-time.Hour).Unix()}, true},
		{"without expiry", "glcbt-", jwt.MapClaims{"sub": "gid://gitlab/Ci::Build/1"}, false},
		{"expiry is no number", "glcbt-", jwt.MapClaims{"exp": "yesterday"}, false},
		{"expired in the last century", "glcbt-", jwt.MapClaims{"exp": -1e9}, true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			b := newBench(t, gitlabtest.Instance{}, tokenreview.Agent{ID: agentID})
			b.reply(gitlabReply("", ""))
			signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, row.claims).SignedString([]byte("not GitLab's key"))
			if err != nil {
				t.Fatal(err)
			}
			credential, calls := "ci:123:"+row.prefix+signed, 1
			if row.expired {
				wantRejected(t, b, credential, tokenreview.ReasonExpired)
				calls = 0
			} else if _, ok, err := b.AuthenticateToken(b.ctx, credential); !ok || err != nil {
				t.Errorf("ok is %t, error is %v", ok, err)
			}
			if got := b.gitlab.Calls(gitlabtest.AllowedAgents); got != calls {
				t.Errorf("GitLab was asked %d times, want %d", got, calls)
			}
		})
	}
}
