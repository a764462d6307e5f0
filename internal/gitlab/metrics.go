package gitlab

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what is asked of GitLab. One set serves every client that a process makes over its life.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	circuit  prometheus.Gauge
}

// NewMetrics makes the metrics and registers them; a nil registerer leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobgate_gitlab_requests_total",
			Help: "Requests sent to GitLab, by endpoint and result (the HTTP status, or error where there was none).",
		}, []string{"endpoint", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "jobgate_gitlab_request_duration_seconds",
			Help:    "Time from sending a request to GitLab to having read its answer.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"endpoint"}),
		circuit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "jobgate_gitlab_circuit_open",
			Help: "1 while the circuit breaker holds requests to GitLab back, else 0.",
		}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.duration, m.circuit)
	}
	return m
}

func (m *Metrics) observe(endpoint string, err error, took time.Duration) {
	m.requests.WithLabelValues(endpoint, result(err)).Inc()
	m.duration.WithLabelValues(endpoint).Observe(took.Seconds())
}

func (m *Metrics) setCircuit(open bool) {
	if open {
		m.circuit.Set(1)
	} else {
		m.circuit.Set(0)
	}
}

func result(err error) string {
	var rejected *RejectedError
	var refused *RefusedError
	var answer *answerError
	switch {
	case err == nil:
		return "200"
	case errors.As(err, &rejected):
		return strconv.Itoa(rejected.Status)
	case errors.As(err, &refused):
		return strconv.Itoa(refused.Status)
	case errors.Is(err, ErrNotFound):
		return "404"
	case errors.As(err, &answer) && answer.status == 200:
		return "invalid"
	case errors.As(err, &answer):
		return strconv.Itoa(answer.status)
	default:
		return "error"
	}
}
