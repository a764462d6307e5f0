package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authenticationv1beta1 "k8s.io/api/authentication/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/tracing"
	"github.com/jobgate/jobgate/tokenreview"
)

// maxBody bounds a review, in bytes: a bearer token or a selector can be close to 1 MiB, and JSON may escape it.
const maxBody = 2 << 20

// usualBody is more than most reviews have, in bytes.
const usualBody = 4 << 10

// The versions of TokenReview. Their fields are the same, so one Go type serves both; kube-apiserver cannot convert an
// answer in another version than it asked in.
var tokenReviewVersions = []string{
	authenticationv1.SchemeGroupVersion.String(),
	authenticationv1beta1.SchemeGroupVersion.String(),
}

// tokenReviewHandler answers POST /authenticate.
type tokenReviewHandler struct {
	tokens  authenticator.Token
	results *prometheus.CounterVec
}

func (h *tokenReviewHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Only what is used is decoded, so that nothing of the request can find its way into the answer.
	var review struct {
		metav1.TypeMeta `json:",inline"`
		Spec            struct {
			Token secret `json:"token"`
		} `json:"spec"`
	}
	if err := readReview(w, r, &review); err != nil {
		err.write(w)
		return
	}
	if err := checkType(review.TypeMeta, "TokenReview", tokenReviewVersions); err != nil {
		err.write(w)
		return
	}
	answer := tokenReviewAnswer{TypeMeta: review.TypeMeta}
	response, ok, err := h.tokens.AuthenticateToken(r.Context(), string(review.Spec.Token))
	var rejected *tokenreview.RejectedError
	switch {
	case err == nil && ok:
		h.count(r, "authenticated", "")
		answer.Status = tokenReviewStatus{Authenticated: true, User: newUserInfo(response.User), Audiences: response.Audiences}
	case err == nil:
		h.count(r, "foreign", "")
	case errors.As(err, &rejected):
		h.count(r, "rejected", string(rejected.Reason))
		answer.Status.Error = rejected.Error()
	default:
		h.count(r, "undecided", "")
		writeStatus(w, http.StatusServiceUnavailable, fmt.Sprintf("the token could not be checked: %v", err))
		return
	}
	writeJSON(w, http.StatusOK, &answer)
}

func (h *tokenReviewHandler) count(r *http.Request, result, reason string) {
	h.results.WithLabelValues(result, reason).Inc()
	tracing.Note(r.Context(), result, reason)
}

// secret is a text that its decoder must not keep: decoders are used again, and remember short strings.
type secret string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *secret) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	value, err := in.ReadValue()
	switch {
	case err != nil:
		return err
	case value.Kind() == 'n':
		return nil
	case value.Kind() != '"':
		return errNoText
	}
	if bytes.IndexByte(value, '\\') < 0 {
		*s = secret(value[1 : len(value)-1])
		return nil
	}
	text, err := jsontext.AppendUnquote(nil, value)
	*s = secret(text)
	return err
}

var errNoText = errors.New("not a text")

// tokenReviewAnswer is a TokenReview without the parts that only a question has.
type tokenReviewAnswer struct {
	metav1.TypeMeta `json:",inline"`
	Status          tokenReviewStatus `json:"status"`
}

// tokenReviewStatus is the API's type of this name, made of what the authenticator returns without copying it over.
type tokenReviewStatus struct {
	Authenticated bool      `json:"authenticated"`
	User          *userInfo `json:"user,omitempty"`
	Audiences     []string  `json:"audiences,omitempty"`
	Error         string    `json:"error,omitempty"`
}

type userInfo struct {
	Username string              `json:"username"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

func newUserInfo(u user.Info) *userInfo {
	return &userInfo{Username: u.GetName(), UID: u.GetUID(), Groups: u.GetGroups(), Extra: u.GetExtra()}
}

// readReview reads a JSON body into a review. Keys are matched case-sensitively, as Kubernetes does, and a key that is
// there twice is an error: two readers could disagree on which counts.
func readReview(w http.ResponseWriter, r *http.Request, review any) *problem {
	if !isJSON(r.Header.Get("Content-Type")) || r.Header.Get("Content-Encoding") != "" {
		return &problem{http.StatusUnsupportedMediaType, "a review must be plain application/json"}
	}
	body := bodies.Get().(*bytes.Buffer)
	defer recycle(body)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf("a review must not be larger than %d bytes", maxBody)}
	}
	if err != nil {
		return &problem{http.StatusBadRequest, "the body could not be read to its end"}
	}
	// The decoder's error is not repeated: it may quote the body, and with it the token.
	if err := json.Unmarshal(body.Bytes(), review); err != nil {
		return &problem{http.StatusBadRequest, "the body is not the JSON of a review"}
	}
	return nil
}

// bodies are buffers for a review's body. What is decoded from one is copied out of it.
var bodies = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, usualBody)) }}

// recycle gives a buffer back without what was in it, which may be a token. A large one is left to the garbage collector.
func recycle(body *bytes.Buffer) {
	if body.Cap() > smallBody+bytes.MinRead {
		return
	}
	clear(body.Bytes())
	body.Reset()
	bodies.Put(body)
}

func isJSON(contentType string) bool {
	const want = "application/json"
	if contentType == want { // as kube-apiserver sends it; the rest is for others
		return true
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && mediaType == want
}

func checkType(got metav1.TypeMeta, kind string, versions []string) *problem {
	if got.Kind != kind {
		return &problem{http.StatusBadRequest, fmt.Sprintf("kind is %.64q, want %q", got.Kind, kind)}
	}
	for _, v := range versions {
		if got.APIVersion == v {
			return nil
		}
	}
	return &problem{http.StatusBadRequest, fmt.Sprintf("apiVersion is %.64q, want one of %q", got.APIVersion, versions)}
}

// problem is a request that cannot be answered with a review.
type problem struct {
	code    int
	message string
}

func (p *problem) write(w http.ResponseWriter) { writeStatus(w, p.code, p.message) }

// reasons are the machine-readable reasons of the statuses sent from here.
var reasons = map[int]metav1.StatusReason{
	http.StatusBadRequest:            metav1.StatusReasonBadRequest,
	http.StatusNotFound:              metav1.StatusReasonNotFound,
	http.StatusMethodNotAllowed:      metav1.StatusReasonMethodNotAllowed,
	http.StatusRequestEntityTooLarge: metav1.StatusReasonRequestEntityTooLarge,
	http.StatusUnsupportedMediaType:  metav1.StatusReasonUnsupportedMediaType,
	http.StatusServiceUnavailable:    metav1.StatusReasonServiceUnavailable,
}

func writeStatus(w http.ResponseWriter, code int, message string) {
	writeJSON(w, code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure,
		Message:  "jobgate: " + message,
		Reason:   reasons[code],
		Code:     int32(code), //nolint:gosec // a status of HTTP has three digits
	})
}

func writeJSON(w http.ResponseWriter, code int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		// None of the types written here can fail to encode. If one ever does, no half-made answer may leave.
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// An error means that the caller has gone, and no one is left to tell.
	_, _ = w.Write(body)
}

func typeOf(value any) string { return fmt.Sprintf("%T", value) }
