package webhook

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	authorizationv1beta1 "k8s.io/api/authorization/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/tracing"
)

// Decider judges requests.
type Decider interface {
	// Decide returns why a request is denied, or nil for no opinion. There is no third answer.
	Decide(ctx context.Context, attributes authorizer.Attributes) *authz.Denial
}

var accessReviewVersions = []string{
	authorizationv1.SchemeGroupVersion.String(),
	authorizationv1beta1.SchemeGroupVersion.String(),
}

// accessReview is what is used of a SubjectAccessReview of either version. They differ in one key: groups was group.
type accessReview struct {
	metav1.TypeMeta `json:",inline"`
	Spec            struct {
		Resource    *resourceAttributes                    `json:"resourceAttributes"`
		NonResource *authorizationv1.NonResourceAttributes `json:"nonResourceAttributes"`
		User        string                                 `json:"user"`
		UID         string                                 `json:"uid"`
		Groups      []string                               `json:"groups"`
		Group       []string                               `json:"group"`
		Extra       map[string][]string                    `json:"extra"`
	} `json:"spec"`
}

// resourceAttributes leaves out the selectors: nothing judges by them, and any user can make them huge.
type resourceAttributes struct {
	Namespace   string `json:"namespace"`
	Verb        string `json:"verb"`
	Group       string `json:"group"`
	Version     string `json:"version"`
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Name        string `json:"name"`
}

// accessReviewAnswer is a SubjectAccessReview without the parts that only a question has.
type accessReviewAnswer struct {
	metav1.TypeMeta `json:",inline"`
	Status          authorizationv1.SubjectAccessReviewStatus `json:"status"`
}

// accessReviewHandler answers POST /authorize.
type accessReviewHandler struct {
	decider Decider
	results *prometheus.CounterVec
	none    prometheus.Counter
}

func newAccessReviewHandler(d Decider, results *prometheus.CounterVec) *accessReviewHandler {
	return &accessReviewHandler{decider: d, results: results, none: results.WithLabelValues("no_opinion", "")}
}

func (h *accessReviewHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review accessReview
	if err := readReview(w, r, &review); err != nil {
		err.write(w)
		return
	}
	if err := checkType(review.TypeMeta, "SubjectAccessReview", accessReviewVersions); err != nil {
		err.write(w)
		return
	}
	// Without this check a request that is neither would be judged as one for no resource at all.
	if (review.Spec.Resource == nil) == (review.Spec.NonResource == nil) {
		writeStatus(w, http.StatusBadRequest, "a SubjectAccessReview has either resourceAttributes or nonResourceAttributes")
		return
	}
	answer := accessReviewAnswer{TypeMeta: review.TypeMeta}
	if denial := h.decider.Decide(r.Context(), review.attributes()); denial != nil {
		h.results.WithLabelValues("denied", string(denial.Rule)).Inc()
		tracing.Note(r.Context(), "denied", string(denial.Rule))
		answer.Status = authorizationv1.SubjectAccessReviewStatus{Denied: true, Reason: denial.Message}
	} else {
		h.none.Inc()
		tracing.Note(r.Context(), "no_opinion", "")
	}
	writeJSON(w, http.StatusOK, &answer)
}

// attributes are the review's in the API server's own form.
func (r *accessReview) attributes() authorizer.Attributes {
	a := authorizer.AttributesRecord{User: &user.DefaultInfo{
		Name: r.Spec.User, UID: r.Spec.UID, Groups: append(r.Spec.Groups, r.Spec.Group...), Extra: r.Spec.Extra,
	}}
	if n := r.Spec.NonResource; n != nil {
		a.Verb, a.Path = n.Verb, n.Path
		return a
	}
	s := r.Spec.Resource
	a.ResourceRequest = true
	a.Verb, a.Namespace, a.Name = s.Verb, s.Namespace, s.Name
	a.APIGroup, a.APIVersion, a.Resource, a.Subresource = s.Group, s.Version, s.Resource, s.Subresource
	return a
}
