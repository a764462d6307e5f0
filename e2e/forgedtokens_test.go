package e2e_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

func wantForgedTokensRefused(t *testing.T, client *http.Client, server *controlplane.APIServer, j job) {
	t.Helper()
	for name, token := range forgedTokens(t, j) {
		t.Run(name, func(t *testing.T) {
			if user, status := identityOf(t, client, server, token); status != http.StatusUnauthorized {
				t.Errorf("status %d, as %s", status, user.Username)
			}
		})
	}
	if _, status := identityOf(t, client, server, idToken(t, j)); status != http.StatusCreated {
		t.Errorf("the token that they are made from: status %d", status)
	}
}

// forgedTokens are what a stranger, or the author of a job, could hand in instead of an ID token for this cluster.
func forgedTokens(t *testing.T, j job) map[string]string {
	t.Helper()
	tokens := map[string]string{
		"another instance's key":                signed(t, gitlabtest.ForeignKey, j, nil),
		"not signed":                            selfSigned(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, j),
		"the public key as the secret of HS256": selfSigned(t, jwt.SigningMethodHS256, publicKey(t), j),
	}
	for name, changes := range map[string]map[string]any{
		"no job_id":                   {"job_id": leftOut},
		"an empty job_id":             {"job_id": ""},
		"a number as job_id":          {"job_id": j.ID},
		"a job_id with a zero":        {"job_id": "01"},
		"a job_id of more than an id": {"job_id": "1:prod"},
		"no pipeline_id":              {"pipeline_id": leftOut},
		"no job_project_id":           {"job_project_id": leftOut},
		"a list as job_project_id":    {"job_project_id": []string{"150"}},
		"no user":                     {"user_login": nil},
		"a tier that is none":         {"deployment_tier": "production:x"},
		"an environment without tier": {"deployment_tier": leftOut},
		"a ref type that is none":     {"ref_type": "commit"},
		"another audience":            {"aud": "vault"},
		"two audiences":               {"aud": []string{grantAudience, "vault"}},
		"no audience":                 {"aud": leftOut},
		"another issuer":              {"iss": "https://gitlab.example.com"},
		"an issuer with a slash":      {"iss": site.GitLab.URL() + "/"},
		"expired":                     {"iat": 1, "nbf": 1, "exp": 2},
		"the end before the begin":    {"iat": 4102444801, "nbf": 1, "exp": 4102444800},
		"no end":                      {"exp": leftOut},
	} {
		tokens[name] = signed(t, gitlabtest.CIKey, j, changes)
	}
	tokens["a person's login"] = signed(t, gitlabtest.UserLoginKey, j, map[string]any{
		"job_id": leftOut, "pipeline_id": leftOut, "job_project_id": leftOut})
	return tokens
}

// selfSigned is signed with something that is no private key of GitLab, and names the key that GitLab uses.
func selfSigned(t *testing.T, method jwt.SigningMethod, secret any, j job) string {
	t.Helper()
	var claims jwt.MapClaims
	if err := json.Unmarshal(claimsOf(t, j, nil), &claims); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = keyID(t, idToken(t, j))
	text, err := token.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	noteToken(t, text)
	return text
}

func publicKey(t *testing.T) []byte {
	t.Helper()
	key, err := site.GitLab.PublicKey(gitlabtest.CIKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}
