package gitlab

import (
	"fmt"
	"strings"
	"testing"
)

func TestCredential_IsNeverPrinted(t *testing.T) {
	const secret = "glpat-personal"
	access, err := newAccess(secret)
	if err != nil {
		t.Fatal(err)
	}
	for header, credential := range map[string]credential{"JOB-TOKEN": jobToken(secret), "PRIVATE-TOKEN": access} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			t.Run(header+" "+verb, func(t *testing.T) {
				text := fmt.Sprintf(verb, credential)
				if strings.Contains(text, secret) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", secret)) {
					t.Error("the secret is printed")
				}
				if !strings.Contains(text, header) {
					t.Errorf("printed as %q, which does not say of which header it is", text)
				}
			})
		}
	}
	if got := fmt.Sprint(credential{}); got != "no credential" {
		t.Errorf("zero value is printed as %q", got)
	}
}

func FuzzSecretReader(f *testing.F) {
	f.Add("some text with a secret of GitLab's in it", "secret of GitLab's", 3)
	f.Add("secret of Git", "secret of GitLab", 1)
	f.Add("ssecret of GitLab", "secret of GitLab", 2)
	f.Add("short", "short", 2)
	f.Fuzz(func(t *testing.T, text, secret string, step int) {
		if step < 1 || step > 64 {
			return
		}
		b := newBody(strings.NewReader(text), int64(len(text)), secret)
		p := make([]byte, step)
		for {
			if _, err := b.Read(p); err != nil {
				break
			}
		}
		if want := len(secret) >= telling && strings.Contains(text, secret); b.found != want {
			t.Errorf("found: %t, want %t", b.found, want)
		}
	})
}
