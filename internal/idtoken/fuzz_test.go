package idtoken_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

// Whatever the bytes are, nothing panics, and nothing but what GitLab's key signed is believed. The key signs exactly one
// token here.
func FuzzIdentify(f *testing.F) {
	first := signers()[0]
	good := first.token(f, nil)
	api := &scripted{keys: keySet(first)}
	s := idtoken.New(idtoken.Config{URL: issuer, Issuer: issuer, Audience: audience}, api, nil)
	if _, err := s.Identify(f.Context(), good, nil, job.Logins); err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, good + "=", good[:len(good)-1], "", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", signers()[1].token(f, nil)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		s.Ours(token)
		if j, err := s.Identify(t.Context(), token, nil, job.Logins); err == nil && token != good {
			t.Fatalf("a token that was not signed is job %d's", j.ID)
		}
	})
}
