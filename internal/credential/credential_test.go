package credential_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/credential"
)

func TestParse(t *testing.T) {
	longest := strings.Repeat("a", credential.MaxToken)
	rows := []struct {
		name, token string
		want        credential.Credential
	}{
		{"agent", "ci:123:abc", credential.Credential{AgentID: 123, JobToken: "abc"}},
		{"the largest agent id", "ci:9223372036854775807:abc", credential.Credential{AgentID: 1<<63 - 1, JobToken: "abc"}},
		{"cluster", "ci:prod-eu:abc", credential.Credential{Cluster: "prod-eu", JobToken: "abc"}},
		{"every character of a token", "ci:1:Az09._~+/=-", credential.Credential{AgentID: 1, JobToken: "Az09._~+/=-"}},
		{"the longest token", "ci:1:" + longest, credential.Credential{AgentID: 1, JobToken: longest}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got, err := credential.Parse(row.token); err != nil || got != row.want {
				t.Errorf("Parse: %v, error %v", got.AgentID, err)
			}
		})
	}
}

func TestParse_MalformedRepeatsNothing(t *testing.T) {
	const secret, lower = "SecretSecretSecret", "glptt-secretsecretsecret"
	rows := []struct{ name, token string }{
		{"nothing", "ci:"},
		{"no token", "ci:123"},
		{"empty token", "ci:123:"},
		{"empty id", "ci::" + secret},
		{"zero", "ci:0:" + secret},
		{"negative", "ci:-1:" + secret},
		{"plus sign", "ci:+1:" + secret},
		{"leading zero", "ci:01:" + secret},
		{"blank", "ci: 1:" + secret},
		{"one too large", "ci:9223372036854775808:" + secret},
		{"swapped", "ci:glcbt-64_" + secret + ":123"},
		{"swapped, and a name by its form", "ci:" + lower + ":123"},
		{"a name with a capital", "ci:Prod:" + secret},
		{"a name that starts with a digit", "ci:1prod:" + secret},
		{"a name that ends with a dash", "ci:prod-:" + secret},
		{"a name of 64 letters", "ci:" + strings.Repeat("a", 64) + ":" + secret},
		{"a mebibyte of name", "ci:" + strings.Repeat("a", 1<<20) + ":" + secret},
		{"colons in the token", "ci:1:" + secret + ":b"},
		{"line break", "ci:1:" + secret + "\r\nX: 1"},
		{"NUL", "ci:1:" + secret + "\x00"},
		{"token one too long", "ci:1:" + strings.Repeat("a", credential.MaxToken+1)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := credential.Parse(row.token)
			if !errors.Is(err, credential.ErrMalformed) {
				t.Fatalf("error is %v, want ErrMalformed", err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), lower) {
				t.Error("the error repeats the token")
			}
		})
	}
}

func TestParse_ReadsAJWTsOwnExpiry(t *testing.T) {
	end := time.Unix(1_900_000_000, 0)
	rows := []struct {
		name, prefix string
		claims       jwt.MapClaims
		want         time.Time
	}{
		{name: "with GitLab's prefix", prefix: "glcbt-", claims: jwt.MapClaims{"exp": end.Unix()}, want: end},
		{name: "with an instance's prefix", prefix: "our-gitlab-glcbt-", claims: jwt.MapClaims{"exp": end.Unix()}, want: end},
		{name: "without a prefix", claims: jwt.MapClaims{"exp": end.Unix()}, want: end},
		{name: "without expiry", prefix: "glcbt-", claims: jwt.MapClaims{"sub": "gid://gitlab/Ci::Build/1"}},
		{name: "expiry is no number", prefix: "glcbt-", claims: jwt.MapClaims{"exp": "yesterday"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, row.claims).SignedString([]byte("not GitLab's key"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := credential.Parse("ci:1:" + row.prefix + signed)
			if err != nil || !c.Expires.Equal(row.want) {
				t.Errorf("expires %v, error %v; want %v", c.Expires, err, row.want)
			}
		})
	}
}

// What Parse accepts, the constructors write back.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"ci:1:a", "ci:prod:a", "ci::", "ci:01:a", "ci:1:a.b.c", "bearer"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := credential.Parse(token)
		if err != nil {
			return
		}
		written := credential.ForAgent(c.AgentID, c.JobToken)
		if c.Cluster != "" {
			written = credential.ForCluster(c.Cluster, c.JobToken)
		}
		if written != token || !credential.Is(token) {
			t.Errorf("%d bytes are accepted that nothing writes", len(token))
		}
	})
}
