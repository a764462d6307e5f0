package e2e_test

import (
	"encoding/json"
	"testing"

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

	if err := site.GitLab.RotateSigningKey(2048); err != nil {
		t.Fatal(err)
	}
	fresh := bearer(t, g.API, idToken(t, runJob(t, staged())))
	eventually.Succeeds(t, func() error { return isAllowed.check(t, fresh, probe) })
	eventually.Succeeds(t, func() error { return isUnauthorized.check(t, usual, probe) })
	isUnauthorized.of(t, bearer(t, g.API, old), probe)
	isAllowed.of(t, bearer(t, g.API, idToken(t, running)), probe)
}

// What is no ID token of a job for this cluster gets an ordinary 401.
func TestIDToken_RefusesOthers(t *testing.T) {
	g := grantsOnly(t)
	j := runJob(t, staged())
	claims := func(change func(map[string]any)) []byte {
		c, err := site.GitLab.IDTokenClaims(j.ID, grantAudience)
		if err != nil {
			t.Fatal(err)
		}
		change(c)
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	same := func(map[string]any) {}
	rows := []struct {
		name    string
		key     gitlabtest.SigningKey
		payload []byte
	}{
		{name: "another instance's key", key: gitlabtest.ForeignKey, payload: claims(same)},
		{name: "another audience", payload: claims(func(c map[string]any) { c["aud"] = "vault" })},
		{name: "two audiences", payload: claims(func(c map[string]any) { c["aud"] = []string{grantAudience, "vault"} })},
		{name: "a person's login", key: gitlabtest.UserLoginKey, payload: claims(func(c map[string]any) {
			for _, name := range []string{"job_id", "pipeline_id", "job_project_id"} {
				delete(c, name)
			}
		})},
		{name: "expired", payload: claims(func(c map[string]any) { c["iat"], c["nbf"], c["exp"] = 1, 1, 2 })},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			token, err := site.GitLab.Sign(row.key, nil, row.payload)
			if err != nil {
				t.Fatal(err)
			}
			isUnauthorized.of(t, bearer(t, g.API, token), probe)
		})
	}
	isAllowed.of(t, bearer(t, g.API, idToken(t, j)), probe)
}
