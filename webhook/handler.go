// Package webhook is the HTTP edge: it serves kube-apiserver's reviews over TLS, and health and metrics beside it.
//
// It knows the wire: API versions, status codes, bounds on bodies and on work in flight, draining. It must not know what a
// job or an agent is: an authenticator.Token and a Decider decide, and what they return picks the answer.
//
// What each answer makes kube-apiserver do is why it is chosen. A 200 is an answer, cached or not as status.error says.
// 429, 500 and 504 are asked again five times over 4.5 seconds, and a Retry-After makes it 31 times, so whatever could
// not be decided is a 503 without one: that request fails at once, and nothing is remembered of it.
package webhook

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/klog/v2"
)

// NewHandler serves the reviews, and registers its metrics. It does no authentication of its callers: that is TLS's.
func NewHandler(tokens authenticator.Token, decider Decider, r prometheus.Registerer) http.Handler {
	m := newMetrics(r)
	router := chi.NewRouter()
	router.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusNotFound, "no such endpoint; kube-apiserver's webhook kubeconfigs must name /authenticate and /authorize")
	})
	router.MethodNotAllowed(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		writeStatus(w, http.StatusMethodNotAllowed, "a review is sent with POST")
	})
	router.With(m.observe("authenticate"), m.recoverPanics, newLimits().bound).
		Method(http.MethodPost, "/authenticate", &tokenReviewHandler{tokens: tokens, results: m.tokenReviews})
	router.With(m.observe("authorize"), m.recoverPanics, newLimits().bound).
		Method(http.MethodPost, "/authorize", newAccessReviewHandler(decider, m.accessReviews))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack(0)
		router.ServeHTTP(w, r)
	})
}

// growStack makes room for all that a review calls. A request runs on a new goroutine, whose stack begins at 2 KiB and grows
// by being copied, frame by frame. Here there are few frames; deep in the decoder, the copy takes a tenth of a review's time.
//
//go:noinline
func growStack(i int) byte {
	var room [4 << 10]byte
	return room[i]
}

// metrics count and time requests.
type metrics struct {
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	tokenReviews  *prometheus.CounterVec
	accessReviews *prometheus.CounterVec
	panics        prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_http_requests_total",
			Help: "Requests of the API server, by handler and HTTP status.",
		}, []string{"handler", "code"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "jobgate_http_request_duration_seconds",
			Help:    "Time from a request's headers to its answer, GitLab's share included.",
			Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"handler"}),
		tokenReviews: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_tokenreviews_total",
			Help: "TokenReviews, by result (authenticated, rejected, foreign: another authenticator's token, undecided) and, where " +
				"rejected, the reason.",
		}, []string{"result", "reason"}),
		accessReviews: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_subjectaccessreviews_total",
			Help: "SubjectAccessReviews, by result (denied, no_opinion) and, where denied, the rule.",
		}, []string{"result", "rule"}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "jobgate_panics_total",
			Help: "Requests that met a bug. Each is in the log with its stack.",
		}),
	}
}

// statusRecorder remembers the status for the metrics.
type statusRecorder struct {
	http.ResponseWriter
	code int
}

func (s *statusRecorder) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.MaxBytesReader reach the connection, to close it under a body that is too large.
func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (m *metrics) observe(handler string) func(http.Handler) http.Handler {
	duration := m.duration.WithLabelValues(handler)
	ok := m.requests.WithLabelValues(handler, "200")
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			recorder := &statusRecorder{ResponseWriter: w, code: http.StatusOK}
			next.ServeHTTP(recorder, r)
			duration.Observe(time.Since(start).Seconds())
			if recorder.code == http.StatusOK {
				ok.Inc()
				return
			}
			m.requests.WithLabelValues(handler, strconv.Itoa(recorder.code)).Inc()
		})
	}
}

// recoverPanics turns a bug into one failed request. The answer is a 503 and not a 500, which kube-apiserver would ask
// for, and panic on, four more times. The panic's value may hold anything, a token included, so only its type is logged.
func (m *metrics) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // what was given to panic, which no one wraps
				panic(p)
			}
			m.panics.Inc()
			klog.FromContext(r.Context()).Error(nil, "Request panicked",
				"path", r.URL.Path, "panic", klog.Format(typeOf(p)), "stack", string(debug.Stack()))
			writeStatus(w, http.StatusServiceUnavailable, "internal error; see jobgate's log")
		}()
		next.ServeHTTP(w, r)
	})
}
