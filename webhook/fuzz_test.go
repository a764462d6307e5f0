package webhook_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/jobgate/jobgate/webhook"
)

// FuzzReviews: whatever the body, the answer is a review or a Status, and never repeats the token.
func FuzzReviews(f *testing.F) {
	f.Add("/authenticate", review("v1", secret))
	f.Add("/authenticate", review("v1beta1", "ci:4:x"))
	f.Add("/authenticate", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"}`)
	f.Add("/authorize", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1beta1","spec":{"resourceAttributes":{"verb":"get"},"group":["g"],"extra":{"k":["v"]}}}`)
	f.Add("/authorize", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"nonResourceAttributes":{"path":"/"}}}`)
	f.Add("/authorize", `[]`)
	var seen string
	h := webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		seen = token
		return &authenticator.Response{User: someUser}, true, nil
	}), noOpinion, nil)
	f.Fuzz(func(t *testing.T, path, body string) {
		if path != "/authenticate" && path != "/authorize" {
			return
		}
		seen = ""
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		answer := w.Body.String()
		switch w.Code {
		case 200:
			if !strings.Contains(answer, `"kind":"TokenReview"`) && !strings.Contains(answer, `"kind":"SubjectAccessReview"`) {
				t.Errorf("200 with %s", answer)
			}
		case 400, 413:
			wantStatus(t, w)
		default:
			t.Errorf("status is %d", w.Code)
		}
		if len(seen) > 24 && strings.Contains(answer, seen) {
			t.Error("the answer repeats the token")
		}
	})
}
