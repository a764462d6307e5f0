package webhook_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/webhook"
)

// decider is a Decider that a test writes out.
type decider func(attributes authorizer.Attributes) *authz.Denial

func (f decider) Decide(_ context.Context, attributes authorizer.Attributes) *authz.Denial {
	return f(attributes)
}

var noOpinion = decider(func(authorizer.Attributes) *authz.Denial { return nil })

func postAccess(h http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/authorize", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Every field that a judgement may use arrives, from the bytes that kube-apiserver sends in either version.
func TestSubjectAccessReview_RoundTrip(t *testing.T) {
	const resource = `"resourceAttributes":{"namespace":"shop","verb":"create","group":"apps","version":"v1","resource":"deployments",` +
		`"subresource":"scale","name":"web","fieldSelector":{"rawSelector":"a=b"},"labelSelector":{"requirements":[{"key":"a","operator":"In","values":["b"]}]}}`
	const nonResource = `"nonResourceAttributes":{"path":"/readyz","verb":"get"}`
	info := &user.DefaultInfo{
		Name: "gitlab:ci_job:1001", UID: "uid", Groups: []string{"gitlab:ci_job", "system:authenticated"},
		Extra: map[string][]string{"agent.gitlab.com/ci_job_id": {"1001"}, "k": {"v1", "v2"}},
	}
	rows := []struct {
		name, attributes string
		want             authorizer.AttributesRecord
	}{
		{"resource", resource, authorizer.AttributesRecord{
			User: info, Verb: "create", Namespace: "shop", APIGroup: "apps", APIVersion: "v1", Resource: "deployments",
			Subresource: "scale", Name: "web", ResourceRequest: true,
		}},
		{"non-resource", nonResource, authorizer.AttributesRecord{User: info, Verb: "get", Path: "/readyz"}},
	}
	for _, row := range rows {
		for version, groups := range map[string]string{"v1": "groups", "v1beta1": "group"} {
			t.Run(row.name+", "+version, func(t *testing.T) {
				var got authorizer.Attributes
				h := webhook.NewHandler(answerWith(nil, false, nil), decider(func(a authorizer.Attributes) *authz.Denial {
					got = a
					return nil
				}), nil)
				w := postAccess(h, `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/`+version+`","metadata":{},"spec":{`+row.attributes+
					`,"user":"gitlab:ci_job:1001","uid":"uid","`+groups+`":["gitlab:ci_job","system:authenticated"],`+
					`"extra":{"agent.gitlab.com/ci_job_id":["1001"],"k":["v1","v2"]}},"status":{"allowed":false}}`)
				if w.Code != 200 {
					t.Fatalf("status is %d: %s", w.Code, w.Body)
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Errorf("attributes (-want +got):\n%s", diff)
				}
				var answer authorizationv1.SubjectAccessReview
				if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
					t.Fatal(err)
				}
				want := authorizationv1.SubjectAccessReview{
					TypeMeta: metav1.TypeMeta{Kind: "SubjectAccessReview", APIVersion: "authorization.k8s.io/" + version},
				}
				if diff := cmp.Diff(want, answer); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestSubjectAccessReview_BadRequests(t *testing.T) {
	const good = `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}`
	rows := []struct {
		name, body string
		code       int
	}{
		{"good", good, 200},
		{"no attributes", strings.Replace(good, `"nonResourceAttributes":{"path":"/","verb":"get"}`, "", 1), 400},
		{"both attributes", strings.Replace(good, `"spec":{`, `"spec":{"resourceAttributes":{},`, 1), 400},
		{"no spec", `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1"}`, 400},
		{"another kind", strings.Replace(good, "SubjectAccessReview", "LocalSubjectAccessReview", 1), 400},
		{"another version", strings.Replace(good, "k8s.io/v1", "k8s.io/v2", 1), 400},
		{"a TokenReview's group", strings.Replace(good, "authorization", "authentication", 1), 400},
		{"extra is a text", strings.Replace(good, `"spec":{`, `"spec":{"extra":{"k":"v"},`, 1), 400},
		{"too large", good + strings.Repeat(" ", 2<<20), 413},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := webhook.NewHandler(answerWith(nil, false, nil), noOpinion, nil)
			w := postAccess(h, row.body)
			if w.Code != row.code {
				t.Fatalf("status is %d, want %d: %s", w.Code, row.code, w.Body)
			}
			if row.code != 200 {
				wantStatus(t, w)
			}
		})
	}
}

func TestSubjectAccessReview_DenialsAreCountedByRule(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	var denial *authz.Denial
	h := webhook.NewHandler(answerWith(nil, false, nil), decider(func(authorizer.Attributes) *authz.Denial { return denial }), registry)
	const review = `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}`
	postAccess(h, review)
	denial = &authz.Denial{Rule: authz.RuleEnded, Message: "jobgate: job 1001 has ended"}
	w := postAccess(h, review)
	var answer authorizationv1.SubjectAccessReview
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	want := authorizationv1.SubjectAccessReviewStatus{Denied: true, Reason: "jobgate: job 1001 has ended"}
	if diff := cmp.Diff(want, answer.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP jobgate_subjectaccessreviews_total SubjectAccessReviews, by result (denied, no_opinion) and, where denied, the rule.
# TYPE jobgate_subjectaccessreviews_total counter
jobgate_subjectaccessreviews_total{result="denied",rule="ended"} 1
jobgate_subjectaccessreviews_total{result="no_opinion",rule=""} 1
`), "jobgate_subjectaccessreviews_total"); err != nil {
		t.Error(err)
	}
}
