package webhook_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/tokenreview"
	"github.com/jobgate/jobgate/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tokens is an authenticator that a test writes out.
type tokens func(ctx context.Context, token string) (*authenticator.Response, bool, error)

func (f tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return f(ctx, token)
}

var someUser = &user.DefaultInfo{
	Name: "gitlab:ci_job:1001", UID: "uid", Groups: []string{"gitlab:ci_job", "gitlab:project:150"},
	Extra: map[string][]string{"agent.gitlab.com/ci_job_id": {"1001"}, "k": {"v1", "v2"}},
}

const secret = "glcbt-64_VerySecretVerySecret"

func review(version, token string) string {
	return fmt.Sprintf(`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/%s","metadata":{},`+
		`"spec":{"token":%q,"audiences":["https://kubernetes.default.svc"]},"status":{"user":{}}}`, version, token)
}

func answerWith(response *authenticator.Response, ok bool, err error) tokens {
	return func(context.Context, string) (*authenticator.Response, bool, error) { return response, ok, err }
}

// post sends a body as kube-apiserver does and returns the recorded answer.
func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/authenticate", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTokenReview_Answers(t *testing.T) {
	rejected := &tokenreview.RejectedError{Reason: tokenreview.ReasonNotListed}
	rows := []struct {
		name   string
		tokens tokens
		code   int
		status authenticationv1.TokenReviewStatus
	}{
		{"a job", answerWith(&authenticator.Response{User: someUser}, true, nil), 200, authenticationv1.TokenReviewStatus{
			Authenticated: true,
			User: authenticationv1.UserInfo{
				Username: "gitlab:ci_job:1001", UID: "uid", Groups: []string{"gitlab:ci_job", "gitlab:project:150"},
				Extra: map[string]authenticationv1.ExtraValue{"agent.gitlab.com/ci_job_id": {"1001"}, "k": {"v1", "v2"}},
			},
		}},
		{"someUser else's token: no error, so that kube-apiserver caches it", answerWith(nil, false, nil), 200, authenticationv1.TokenReviewStatus{}},
		{"a rejection: with an error, so that kube-apiserver asks again", answerWith(nil, false, rejected), 200, authenticationv1.TokenReviewStatus{Error: rejected.Error()}},
		{"GitLab cannot be asked", answerWith(nil, false, errors.New("down")), 503, authenticationv1.TokenReviewStatus{}},
	}
	for _, row := range rows {
		for _, version := range []string{"v1", "v1beta1"} {
			t.Run(row.name+", "+version, func(t *testing.T) {
				w := post(webhook.NewHandler(row.tokens, noOpinion, nil), review(version, secret))
				if w.Code != row.code {
					t.Fatalf("status is %d, want %d: %s", w.Code, row.code, w.Body)
				}
				if strings.Contains(w.Body.String(), secret) {
					t.Error("the answer repeats the token")
				}
				if w.Header().Get("Retry-After") != "" {
					t.Error("the answer has a Retry-After, which makes kube-apiserver ask 31 times")
				}
				if row.code != 200 {
					wantStatus(t, w)
					return
				}
				var got authenticationv1.TokenReview
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				want := authenticationv1.TokenReview{
					TypeMeta: metav1.TypeMeta{Kind: "TokenReview", APIVersion: "authentication.k8s.io/" + version},
					Status:   row.status,
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// wantStatus asserts a metav1.Status that agrees with the HTTP status.
func wantStatus(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var s metav1.Status
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatalf("the body is no Status: %v: %s", err, w.Body)
	}
	if s.Kind != "Status" || s.APIVersion != "v1" || s.Status != metav1.StatusFailure || int(s.Code) != w.Code || s.Message == "" || s.Reason == "" {
		t.Errorf("status is %+v for HTTP %d", s, w.Code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type is %q", got)
	}
}

func TestTokenReview_BadRequests(t *testing.T) {
	good := review("v1", secret)
	rows := []struct {
		name   string
		body   string
		header []string
		code   int
	}{
		{"wrong media type", good, []string{"Content-Type", "application/yaml"}, 415},
		{"no media type", good, []string{"Content-Type", ""}, 415},
		{"compressed", good, []string{"Content-Encoding", "gzip"}, 415},
		{"media type with parameters", good, []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"another kind", strings.Replace(good, "TokenReview", "SubjectAccessReview", 1), nil, 400},
		{"another version", strings.Replace(good, "/v1", "/v2", 1), nil, 400},
		{"another group", strings.Replace(good, "authentication.k8s.io/", "", 1), nil, 400},
		{"no kind and version", `{"spec":{"token":"x"}}`, nil, 400},
		{"not JSON", `token=` + secret, nil, 400},
		{"half", good[:len(good)-10], nil, 400},
		{"empty", ``, nil, 400},
		{"a list", `[` + good + `]`, nil, 400},
		{"two in one", good + good, nil, 400},
		{"token is a number", strings.Replace(good, `"`+secret+`"`, "1", 1), nil, 400},
		{"keys in other case are other keys", strings.Replace(good, `"kind"`, `"Kind"`, 1), nil, 400},
		{"a key twice", strings.Replace(good, `"spec":`, `"spec":{},"spec":`, 1), nil, 400},
		{"unknown fields", strings.Replace(good, `"metadata"`, `"new":{"a":[1]},"metadata"`, 1), nil, 200},
		{"no spec", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1"}`, nil, 200},
		{"as large as allowed", padded(good, 2<<20), nil, 200},
		{"larger than allowed", padded(good, 2<<20+1), nil, 413},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			h := webhook.NewHandler(answerWith(nil, false, nil), noOpinion, nil)
			w := post(h, row.body, row.header...)
			if w.Code != row.code {
				t.Fatalf("status is %d, want %d: %s", w.Code, row.code, w.Body)
			}
			if w.Code != 200 {
				wantStatus(t, w)
			}
			if strings.Contains(w.Body.String(), secret) {
				t.Error("the answer repeats the token")
			}
			if w := post(h, good); w.Code != 200 {
				t.Errorf("the next good review: %d", w.Code)
			}
		})
	}
}

// padded makes a review of exactly this many bytes.
func padded(body string, size int) string { return body + strings.Repeat(" ", size-len(body)) }

func TestHandler_OtherPathsAndMethods(t *testing.T) {
	rows := []struct {
		method, path string
		code         int
	}{
		{http.MethodGet, "/authenticate", 405},
		{http.MethodPut, "/authenticate", 405},
		{http.MethodDelete, "/authenticate", 405},
		{http.MethodPost, "/", 404},
		{http.MethodPost, "/authenticate/x", 404},
		{http.MethodGet, "/metrics", 404},
	}
	for _, row := range rows {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			webhook.NewHandler(answerWith(nil, false, nil), noOpinion, nil).ServeHTTP(w, httptest.NewRequest(row.method, row.path, nil))
			if w.Code != row.code {
				t.Fatalf("status is %d, want %d", w.Code, row.code)
			}
			wantStatus(t, w)
			if w.Code == 405 && w.Header().Get("Allow") != http.MethodPost {
				t.Errorf("Allow is %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestHandler_PanicCostsOneRequest(t *testing.T) {
	metrics := prometheus.NewPedanticRegistry()
	panics := true
	h := webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		if panics {
			panic(token)
		}
		return nil, false, nil
	}), noOpinion, metrics)
	w := post(h, review("v1", secret))
	if w.Code != 503 {
		t.Errorf("status is %d, want 503: kube-apiserver would ask for a 500 four more times", w.Code)
	}
	wantStatus(t, w)
	if strings.Contains(w.Body.String(), secret) {
		t.Error("the answer repeats the token")
	}
	if problem := testutil.GatherAndCompare(metrics, strings.NewReader(`
# HELP jobgate_panics_total Requests that met a bug. Each is in the log with its stack.
# TYPE jobgate_panics_total counter
jobgate_panics_total 1
`), "jobgate_panics_total"); problem != nil {
		t.Error(problem)
	}
	panics = false
	if w := post(h, review("v1", secret)); w.Code != 200 {
		t.Errorf("the next review: %d", w.Code)
	}
}

func TestHandler_CountsAnswers(t *testing.T) {
	metrics := prometheus.NewPedanticRegistry()
	var answer tokens
	h := webhook.NewHandler(tokens(func(ctx context.Context, token string) (*authenticator.Response, bool, error) {
		return answer(ctx, token)
	}), noOpinion, metrics)
	for _, a := range []tokens{
		answerWith(&authenticator.Response{User: someUser}, true, nil),
		answerWith(nil, false, nil),
		answerWith(nil, false, &tokenreview.RejectedError{Reason: tokenreview.ReasonExpired}),
		answerWith(nil, false, errors.New("down")),
	} {
		answer = a
		post(h, review("v1", secret))
	}
	post(h, "nonsense")
	want := `
# HELP jobgate_http_requests_total Requests of the API server, by handler and HTTP status.
# TYPE jobgate_http_requests_total counter
jobgate_http_requests_total{code="200",handler="authenticate"} 3
jobgate_http_requests_total{code="200",handler="authorize"} 0
jobgate_http_requests_total{code="400",handler="authenticate"} 1
jobgate_http_requests_total{code="503",handler="authenticate"} 1
# HELP jobgate_tokenreviews_total TokenReviews, by result (authenticated, rejected, foreign: another authenticator's token, undecided) and, where rejected, the reason.
# TYPE jobgate_tokenreviews_total counter
jobgate_tokenreviews_total{reason="",result="authenticated"} 1
jobgate_tokenreviews_total{reason="",result="foreign"} 1
jobgate_tokenreviews_total{reason="",result="undecided"} 1
jobgate_tokenreviews_total{reason="expired",result="rejected"} 1
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "jobgate_http_requests_total", "jobgate_tokenreviews_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(metrics); err != nil || len(problems) > 0 {
		t.Errorf("metrics lint: %v %v", problems, err)
	}
}

// Large bodies have a budget of their own: when it is used up, honest reviews still pass.
func TestHandler_LargeBodiesCannotCrowdOutHonestReviews(t *testing.T) {
	const largeToken = 1 << 20
	release := make(chan struct{})
	entered := make(chan struct{}, 100)
	h := webhook.NewHandler(tokens(func(_ context.Context, token string) (*authenticator.Response, bool, error) {
		if len(token) >= largeToken {
			entered <- struct{}{}
			<-release
		}
		return nil, false, nil
	}), noOpinion, nil)
	large := review("v1", strings.Repeat("a", largeToken))
	const sent, admitted = 40, 31 // 31 of these bodies fit into 32 MiB
	codes := make(chan int, sent)
	var all sync.WaitGroup
	for range sent {
		all.Go(func() { codes <- post(h, large).Code })
	}
	for range admitted {
		<-entered
	}
	for range sent - admitted {
		if code := <-codes; code != 503 {
			t.Errorf("a large review over the budget got %d, want 503", code)
		}
	}
	if code := post(h, review("v1", secret)).Code; code != 200 {
		t.Errorf("an honest review got %d", code)
	}
	close(release)
	all.Wait()
}

// However many logins wait, an authorization has its own place.
func TestHandler_WaitingLoginsLeaveAuthorizationsAlone(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 6000)
	h := webhook.NewHandler(tokens(func(context.Context, string) (*authenticator.Response, bool, error) {
		entered <- struct{}{}
		<-release
		return nil, false, nil
	}), noOpinion, nil)
	const most = 5120
	var all sync.WaitGroup
	for range most {
		all.Go(func() { post(h, review("v1", secret)) })
	}
	for range most {
		<-entered
	}
	if code := post(h, review("v1", secret)).Code; code != 503 {
		t.Errorf("one login more got %d, want 503", code)
	}
	if w := postAccess(h, accessReviewBody); w.Code != 200 {
		t.Errorf("an authorization got %d: %s", w.Code, w.Body)
	}
	close(release)
	all.Wait()
}

const accessReviewBody = `{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"user":"u","nonResourceAttributes":{"verb":"get","path":"/x"}}}`

func newServer(t testing.TB, tlsConfig *tls.Config, h http.Handler) *webhook.Server {
	t.Helper()
	s, err := webhook.NewServer(webhook.Options{
		Address: "127.0.0.1:0", HealthAddress: "127.0.0.1:0", TLS: tlsConfig, Handler: h, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// On SIGTERM readiness goes first, the review in flight finishes, and health is there to the end.
func TestServer_Drains(t *testing.T) {
	p := newPKI(t)
	entered, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, p.serve(t, nil), webhook.NewHandler(tokens(func(context.Context, string) (*authenticator.Response, bool, error) {
		close(entered)
		<-release
		return &authenticator.Response{User: someUser}, true, nil
	}), noOpinion, nil))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	health := "http://" + s.HealthAddress().String()
	eventually.True(t, "readyz is 200", func() bool { code, _ := get(t, health+"/readyz"); return code == 200 })

	client := p.client(t, p.apiserver)
	defer client.CloseIdleConnections()
	answered := make(chan string, 1)
	go func() {
		resp, err := client.Post("https://"+s.Address().String()+"/authenticate", "application/json", strings.NewReader(review("v1", secret)))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		answered <- b.String()
	}()
	<-entered
	stop()
	eventually.True(t, "readyz is 503", func() bool { code, _ := get(t, health+"/readyz"); return code == 503 })
	if code, _ := get(t, health+"/livez"); code != 200 {
		t.Errorf("livez is %d while draining", code)
	}
	close(release)
	if got := <-answered; !strings.Contains(got, `"authenticated":true`) {
		t.Errorf("the review in flight got %s", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestNewServer_NamesTheAddressThatIsTaken(t *testing.T) {
	s := newServer(t, newPKI(t).serve(t, nil), nil)
	taken := s.Address().String()
	_, err := webhook.NewServer(webhook.Options{Address: taken, HealthAddress: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error is %v, want one that names %s", err, taken)
	}
	_, err = webhook.NewServer(webhook.Options{Address: "127.0.0.1:0", HealthAddress: taken})
	if err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error is %v, want one that names %s", err, taken)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
