package webhook_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/webhook"
)

// What is used again for the next review (decoders, buffers) remembers no token.
func TestTokenReview_TokenLeavesMemory(t *testing.T) {
	for _, row := range []struct{ name, token string }{
		{"plain", "ci:4:" + secret},
		{"with escapes", `ci:4:"` + secret},
		{"long", "ci:4:" + strings.Repeat("x", 1000)},
	} {
		t.Run(row.name, func(t *testing.T) {
			var seen weak.Pointer[byte]
			h := webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
				if token != row.token {
					t.Error("another token has arrived")
				}
				seen = weak.Make(unsafe.StringData(token))
				return nil, false, nil
			}), noOpinion, nil)
			post(h, review("v1", row.token))
			runtime.GC() // a first run leaves pools what they hold
			if seen.Value() != nil {
				t.Error("the token is still in memory")
			}
		})
	}
}

// What was decoded from a body stays as it was when the next body is read into the same buffer.
func TestHandler_NextBodyChangesNothing(t *testing.T) {
	var arrived []string
	h := webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		arrived = append(arrived, token)
		return nil, false, nil
	}), decider(func(a authorizer.Attributes) *authz.Denial {
		u := a.GetUser()
		arrived = append(arrived, u.GetName(), u.GetGroups()[0], a.GetVerb(), a.GetPath())
		for key, values := range u.GetExtra() {
			arrived = append(arrived, key, values[0])
		}
		return nil
	}), nil)
	var want []string
	for i := range 20 {
		text := strings.Repeat(string(rune('a'+i)), 300)
		post(h, review("v1", text))
		postAccess(h, strings.ReplaceAll(`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"user":"X",`+
			`"groups":["X"],"extra":{"X":["X"]},"nonResourceAttributes":{"verb":"X","path":"X"}}}`, "X", text))
		for range 7 {
			want = append(want, text)
		}
	}
	if diff := cmp.Diff(want, arrived); diff != "" {
		t.Errorf("what arrived (-want +got):\n%s", diff)
	}
}
