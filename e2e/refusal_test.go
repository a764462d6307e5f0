package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

// Every token that is refused is refused with the same 401; what differs is whether GitLab ever saw it. Other people's
// credentials must not get there.
func TestRefusal_AndWhetherGitLabIsAsked(t *testing.T) {
	tests := []struct {
		name  string
		token func(*testing.T) (bearer, secret string) // secret is the part that GitLab must or must not have seen
		asked bool
	}{
		{"agent of another cluster", liveJobOf(elsewhereAgent), false},
		{"agent that GitLab does not list for the job", liveJobOf(notForThisProject), true},
		{"job that has ended", endedJob, true},
		{"job token that GitLab does not know", fixed("ci:4:", "glcbt-64_UnknownUnknownUnknow"), true},
		{"personal access token for a job token", fixed("ci:4:", personalAccessToken), true},
		{"JWT job token that has expired", expiredJob, false},
		{"empty job token", fixed("ci:4:", ""), false},
		{"agent id that is not canonical", fixed("ci:04:", "glcbt-64_NonCanonicalAgentId1"), false},
		{"agent id that is no number", fixed("ci:four:", "glcbt-64_NoNumberAsAnAgentId2"), false},
		{"job token in place of the agent id", fixed("ci:glcbt-64_TheWrongWayAroundHere", ":4"), false},
		{"job token alone", jobTokenAlone, false},
		{"random bearer token", fixed("", "4f1d7c8e9b2a6053randombearer"), false},
		{"token of another identity provider", foreignJWT("https://login.example.com", "alice"), false},
		{"ServiceAccount token of another cluster", foreignJWT(
			"https://kubernetes.default.svc", "system:serviceaccount:default:default"), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			token, secret := test.token(t)
			site.GitLab.ResetCalls()
			wantUnauthorized(t, bearer(t, site.API, token))
			if secret == "" {
				wantCalls(t, 0)
				return
			}
			if got := gitlabHeard(secret); got != test.asked {
				t.Errorf("GitLab was asked: %t, want %t", got, test.asked)
			}
		})
	}
}

func fixed(prefix, secret string) func(*testing.T) (string, string) {
	return func(*testing.T) (string, string) { return prefix + secret, secret }
}

func liveJobOf(agent int64) func(*testing.T) (string, string) {
	return func(t *testing.T) (string, string) { return ciToken(agent, runJob(t, gitlabtest.Job{})) }
}

func endedJob(t *testing.T) (string, string) {
	j := runJob(t, gitlabtest.Job{})
	j.end(t)
	return ciToken(ciJobAgent, j)
}

// expiredJob is one that GitLab, whose clock may be wrong, would still let in: it counts as running.
func expiredJob(t *testing.T) (string, string) {
	return ciToken(ciJobAgent, runJob(t, gitlabtest.Job{TokenFormat: "jwt", TokenExpires: time.Now().Add(-time.Minute)}))
}

func jobTokenAlone(t *testing.T) (string, string) {
	token := runJob(t, gitlabtest.Job{}).Token
	return token, token
}

func ciToken(agent int64, j job) (bearer, secret string) {
	return fmt.Sprintf("ci:%d:%s", agent, j.Token), j.Token
}

// foreignJWT is a well-formed, live token that a stranger signed.
func foreignJWT(issuer, subject string) func(*testing.T) (string, string) {
	return func(t *testing.T) (string, string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
			Issuer: issuer, Subject: subject, Audience: jwt.ClaimStrings{"https://kubernetes.default.svc"},
			ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour)),
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token, token
	}
}

// Only the API server may ask jobgate. The TLS handshake ends everyone else.
func TestRefusal_WebhookTalksToTheAPIServerAlone(t *testing.T) {
	tests := []struct {
		name    string
		client  string // the name in its certificate; none if empty
		allowed bool
	}{
		{"the API server", sandbox.WebhookClient, true},
		{"no client certificate", "", false},
		{"a certificate of the same authority for another name", "another", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			configuration, err := site.WebhookTLS(test.client)
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{TLSClientConfig: configuration}
			defer transport.CloseIdleConnections()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, site.Jobgate.URL+"/authenticate",
				strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"a"}}`))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			response, err := (&http.Client{Transport: transport, Timeout: patience}).Do(request)
			if err == nil {
				defer response.Body.Close()
			}
			if answered := err == nil && response.StatusCode == http.StatusOK; answered != test.allowed {
				t.Errorf("answered with 200: %t, want %t (%v)", answered, test.allowed, err)
			}
		})
	}
}
