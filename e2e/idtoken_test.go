package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// GitLab rotates its key without overlap: tokens of the new key work within 30 s, and those of the old one end, also where
// the API server remembers them.
func TestIDToken_KeyRotation(t *testing.T) {
	g := grantsOnly(t)
	running := runJob(t, staged())
	old := idToken(t, running)
	remembered, usual := bearer(t, g.lasting, old), bearer(t, g.API, old)
	isAllowed.of(t, usual, probe)
	isAllowed.of(t, remembered, probe)
	both, client := structured(t, g, true), apiClient(t)

	if err := site.GitLab.RotateSigningKey(2048); err != nil {
		t.Fatal(err)
	}
	fresh := bearer(t, g.API, idToken(t, runJob(t, staged())))
	eventually.Succeeds(t, func() error { return isAllowed.check(t, fresh, probe) })
	eventually.Succeeds(t, func() error { return isUnauthorized.check(t, usual, probe) })
	isUnauthorized.of(t, bearer(t, g.API, old), probe)
	isAllowed.of(t, bearer(t, g.API, idToken(t, running)), probe)

	// kube-apiserver itself keeps the old key, and asks jobgate about tokens of the new one.
	if user, status := identityOf(t, client, both, old); status != http.StatusCreated || !isOfAPIServer(user) {
		t.Errorf("an old token at an API server that verifies them by itself: status %d, %v", status, user)
	}
	if user, status := identityOf(t, client, both, idToken(t, running)); status != http.StatusCreated || isOfAPIServer(user) {
		t.Errorf("a new token at an API server that also asks jobgate: status %d, %v", status, user)
	}
}

// What is no ID token of a job for this cluster gets an ordinary 401.
func TestIDToken_RefusesOthers(t *testing.T) {
	g, client := grantsOnly(t), apiClient(t)
	j := runJob(t, gitlabtest.Job{Environment: "prod", Pipeline: onMain})
	wantForgedTokensRefused(t, client, g.API, j)
}

// Forged tokens, each another one, cost GitLab no question but for its keys, and those at most every 30 s. Meanwhile running
// jobs go on and new jobs log in. make flood does this for longer.
func TestIDToken_ForgedTokensCostGitLabNothing(t *testing.T) {
	g, client := grantsOnly(t), apiClient(t)
	running := runJob(t, staged())
	w := bearer(t, g.API, idToken(t, running))
	isAllowed.of(t, w, probe)
	genuine, tokens := keyID(t, idToken(t, running)), make([]string, 200)
	for i := range tokens {
		kid := genuine
		if i%2 == 0 {
			kid = fmt.Sprintf("forged-%d", i)
		}
		var err error
		tokens[i], err = site.GitLab.Sign(gitlabtest.ForeignKey, map[string]any{"kid": kid}, claimsOf(t, running, nil))
		if err != nil {
			t.Fatal(err)
		}
	}
	site.GitLab.ResetCalls()
	began := time.Now()
	var forgers sync.WaitGroup
	for some := range slices.Chunk(tokens, 25) {
		forgers.Go(func() {
			for _, token := range some {
				user, status, err := identify(t.Context(), client, g.API, token)
				if err != nil || status != http.StatusUnauthorized {
					t.Errorf("a forged token: status %d, as %s, error %v", status, user.Username, err)
				}
			}
		})
	}
	isAllowed.of(t, w, probe)
	for _, login := range grantLogins() {
		isAllowed.of(t, bearer(t, g.API, login.token(t, runJob(t, staged()))), probe)
	}
	forgers.Wait()
	isAllowed.of(t, w, probe)
	const keysPause = 30 * time.Second
	if reads, most := site.GitLab.Calls(gitlabtest.KeySet), 1+int(time.Since(began)/keysPause); reads > most {
		t.Errorf("GitLab's keys were read %d times, want %d at most", reads, most)
	}
	for _, request := range site.GitLab.Requests(gitlabtest.AnyEndpoint) {
		if strings.Contains(fmt.Sprint(request), "forged") {
			t.Errorf("GitLab was asked about a forged token: %v", request)
		}
	}
}

func keyID(t *testing.T, token string) any {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Header["kid"]
}
