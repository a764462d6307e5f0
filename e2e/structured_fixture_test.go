package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/controlplane"
)

// structured is an API server that verifies ID tokens by itself, as the shipped file says, and asks the jobgate of the grants
// about requests, and about tokens only if asked to. It ends with the test, because it keeps GitLab's keys and other tests
// rotate them.
func structured(t *testing.T, g *grantInstallation, asksAboutTokens bool) *controlplane.APIServer {
	t.Helper()
	options := g.first.APIServer(fmt.Sprintf("kube-apiserver-structured-%t", asksAboutTokens))
	if !asksAboutTokens {
		options.TokenWebhook = nil
	}
	options.ExtraArgs = []string{"--authentication-config=" + authenticationConfig(t)}
	server, err := site.Plane.StartAPIServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	client, j := apiClient(t), runJob(t, staged())
	eventually.Succeeds(t, func() error { // it asks for GitLab's keys in the background
		user, status := identityOf(t, client, server, idToken(t, j))
		if status != http.StatusCreated || !isOfAPIServer(user) {
			return fmt.Errorf("the API server answers %d", status)
		}
		return nil
	})
	return server
}

// isOfAPIServer says that kube-apiserver itself has made the identity: no grant has admitted it yet.
func isOfAPIServer(u authenticationv1.UserInfo) bool { return u.Extra["jobgate.io/grant"] == nil }

// authenticationConfig is the shipped file with this run's GitLab.
func authenticationConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(shipped(t, "structured-authentication", "authentication-configuration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var authority strings.Builder
	authority.WriteString("    certificateAuthority: |\n")
	for line := range strings.Lines(string(site.GitLab.CACertPEM())) {
		authority.WriteString("      " + line)
	}
	for _, change := range []struct{ from, to string }{
		{from: "    url: https://gitlab.example.com\n", to: "    url: " + site.GitLab.URL() + "\n" + authority.String()},
		{from: "[https://api.prod.example.com]", to: "[" + grantAudience + "]"},
		{from: `"'prod'"`, to: `"'` + grantCluster + `'"`},
	} {
		if n := bytes.Count(text, []byte(change.from)); n != 1 {
			t.Fatalf("the shipped file has %q %d times, not once", change.from, n)
		}
		text = bytes.Replace(text, []byte(change.from), []byte(change.to), 1)
	}
	if minorVersion(t) < 34 {
		text = bytes.Replace(text, []byte("apiserver.config.k8s.io/v1\n"), []byte("apiserver.config.k8s.io/v1beta1\n"), 1)
	}
	file := filepath.Join(t.TempDir(), "authentication.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// minorVersion is that of the API server.
func minorVersion(t *testing.T) int {
	t.Helper()
	var version struct{ Minor string }
	if err := json.Unmarshal([]byte(succeed(t, admin(t), "get", "--raw", "/version")), &version); err != nil {
		t.Fatal(err)
	}
	var minor int
	if _, err := fmt.Sscan(strings.TrimSuffix(version.Minor, "+"), &minor); err != nil {
		t.Fatal(err)
	}
	return minor
}

// identityOf is kubectl auth whoami, without the time that kubectl takes.
func identityOf(t *testing.T, client *http.Client, server *controlplane.APIServer, token string) (authenticationv1.UserInfo, int) {
	t.Helper()
	user, status, err := identify(t.Context(), client, server, token)
	if err != nil {
		t.Fatal(err)
	}
	return user, status
}

func identify(
	ctx context.Context, client *http.Client, server *controlplane.APIServer, token string,
) (user authenticationv1.UserInfo, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/apis/authentication.k8s.io/v1/selfsubjectreviews",
		strings.NewReader(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`))
	if err != nil {
		return user, 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return user, 0, err
	}
	defer response.Body.Close()
	var review authenticationv1.SelfSubjectReview
	if response.StatusCode == http.StatusCreated {
		err = json.NewDecoder(response.Body).Decode(&review)
	}
	return review.Status.UserInfo, response.StatusCode, err
}

// signed is an ID token of the job for this cluster with changed claims.
func signed(t *testing.T, key gitlabtest.SigningKey, j job, changes map[string]any) string {
	t.Helper()
	token, err := site.GitLab.Sign(key, nil, claimsOf(t, j, changes))
	if err != nil {
		t.Fatal(err)
	}
	noteToken(t, token)
	return token
}

func claimsOf(t *testing.T, j job, changes map[string]any) []byte {
	t.Helper()
	claims, err := site.GitLab.IDTokenClaims(j.ID, grantAudience)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range changes {
		if claims[name] = value; value == leftOut {
			delete(claims, name)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// leftOut takes the place of a claim that is not there.
const leftOut = "\x00left out"
