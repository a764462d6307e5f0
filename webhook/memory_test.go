package webhook_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"unsafe"
	"weak"

	"k8s.io/apiserver/pkg/authentication/authenticator"

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
