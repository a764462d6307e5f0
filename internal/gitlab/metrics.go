package gitlab

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/jobgate/jobgate/internal/job"
)

// Metrics count what is asked of GitLab. One set serves every client that a process makes over its life.
type Metrics struct {
	requests   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	circuit    prometheus.Gauge
	queued     *prometheus.GaugeVec
	flying     *prometheus.GaugeVec
	turnedAway *prometheus.CounterVec
	listings   *prometheus.CounterVec
}

// probeEndpoint is the name of the breaker's own requests in metrics.
const probeEndpoint = "probe"

// queueNames are the lanes' queues in metrics.
var queueNames = map[queueName]string{logins: "logins", refreshes: "refreshes", facts: "facts", strangers: "unconfirmed"}

// laneNames are the lanes in metrics.
var laneNames = map[job.Lane]string{job.Logins: "logins", job.Refreshes: "refreshes"}

// NewMetrics makes the metrics and registers them; a nil registerer leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	m := &Metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_gitlab_requests_total",
			Help: "Requests sent to GitLab, by endpoint and result (the HTTP status, or error where there was none).",
		}, []string{"endpoint", "result"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "jobgate_gitlab_request_duration_seconds",
			Help:    "Time from sending a request to GitLab to having read its answer.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"endpoint"}),
		circuit: f.NewGauge(prometheus.GaugeOpts{
			Name: "jobgate_gitlab_circuit_open",
			Help: "1 while the circuit breaker holds requests to GitLab back, else 0.",
		}),
		queued: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "jobgate_gitlab_waiting_requests",
			Help: "Requests that wait for the rate limit or for a place in flight, by queue (logins, refreshes, facts, unconfirmed).",
		}, []string{"queue"}),
		flying: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "jobgate_gitlab_requests_in_flight",
			Help: "Requests that GitLab has not answered yet, by lane (logins, refreshes) and age (quick, or slow after 250 ms).",
		}, []string{"lane", "age"}),
		turnedAway: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_gitlab_turned_away_total",
			Help: "Requests that were never sent because they found no room in time, by queue (logins, refreshes, facts, unconfirmed).",
		}, []string{"queue"}),
		listings: f.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_gitlab_environment_listings_total",
			Help: "Searches through a project's environments for a wildcard, by result (found, absent, failed, too_many).",
		}, []string{"result"}),
	}
	// From zero on: Prometheus sees no increase in a counter that begins at one.
	for _, queue := range queueNames {
		m.turnedAway.WithLabelValues(queue)
	}
	for _, result := range []string{listingFound, listingAbsent, listingFailed, listingTooMany} {
		m.listings.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) observe(endpoint string, err error, took time.Duration) {
	m.requests.WithLabelValues(endpoint, result(err)).Inc()
	m.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

func (m *Metrics) observeProbe(resp *http.Response, took time.Duration) {
	result := "error"
	if resp != nil {
		result = strconv.Itoa(resp.StatusCode)
	}
	m.requests.WithLabelValues(probeEndpoint, result).Inc()
	m.duration.WithLabelValues(probeEndpoint).Observe(took.Seconds())
}

func (m *Metrics) setCircuit(open bool) {
	if open {
		m.circuit.Set(1)
	} else {
		m.circuit.Set(0)
	}
}

func (m *Metrics) waiting(q queueName, n int) {
	m.queued.WithLabelValues(queueNames[q]).Set(float64(n))
}

func (m *Metrics) inFlight(l job.Lane, quick, slow int) {
	m.flying.WithLabelValues(laneNames[l], "quick").Set(float64(quick))
	m.flying.WithLabelValues(laneNames[l], "slow").Set(float64(slow))
}

func (m *Metrics) turnAway(q queueName) { m.turnedAway.WithLabelValues(queueNames[q]).Inc() }

// The results of a search through a project's environments.
const (
	listingFound   = "found"
	listingAbsent  = "absent"
	listingFailed  = "failed"
	listingTooMany = "too_many"
)

// countListing counts a search; an empty result means that there was no need for one.
func (m *Metrics) countListing(result string) {
	if result != "" {
		m.listings.WithLabelValues(result).Inc()
	}
}

func result(err error) string {
	var refused *RefusedError
	var answer *answerError
	switch {
	case err == nil:
		return "200"
	case errors.As(err, &refused):
		return strconv.Itoa(refused.Status)
	case errors.Is(err, ErrNotFound):
		return "404"
	case errors.As(err, &answer) && answer.status == http.StatusOK:
		return "invalid"
	case errors.As(err, &answer):
		return strconv.Itoa(answer.status)
	default:
		return "error"
	}
}
