package job

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics count how lookups were answered.
type metrics struct {
	fresh, stale, remembered, asked prometheus.Counter
}

func newMetrics(r prometheus.Registerer, reg *Registry) metrics {
	f := promauto.With(r)
	gauge(f, "jobgate_jobs_known", "Jobs in memory.", reg.jobs.Len)
	gauge(f, "jobgate_tokens_refused", "Refused tokens in memory.", reg.refused.Len)
	lookups := f.NewCounterVec(prometheus.CounterOpts{
		Name: "jobgate_job_lookups_total",
		Help: "Lookups of jobs, by how they were answered: fresh or stale from memory, remembered as refused, " +
			"or asked (one lookup at the source, whatever the number of callers and attempts).",
	}, []string{"result"})
	return metrics{
		fresh:      lookups.WithLabelValues("fresh"),
		stale:      lookups.WithLabelValues("stale"),
		remembered: lookups.WithLabelValues("remembered"),
		asked:      lookups.WithLabelValues("asked"),
	}
}

func gauge(f promauto.Factory, name, help string, value func() int) {
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}
