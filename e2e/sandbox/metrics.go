package sandbox

import (
	"context"
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics is the text of /metrics.
func (j *Jobgate) Metrics(ctx context.Context) (string, error) { return j.health(ctx, "/metrics") }

// Metric is the sum of all series of a counter or gauge that have the labels; 0 where there is none.
func (j *Jobgate) Metric(ctx context.Context, name string, labels map[string]string) (float64, error) {
	text, err := j.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	return Sum(text, name, labels)
}

// Sum is what Metric is, of metrics that have been read.
func Sum(text, name string, labels map[string]string) (float64, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("read jobgate's metrics: %w", err)
	}
	sum := 0.0
	for _, series := range families[name].GetMetric() {
		if hasLabels(series, labels) {
			sum += series.GetCounter().GetValue() + series.GetGauge().GetValue()
		}
	}
	return sum, nil
}

func hasLabels(series *dto.Metric, want map[string]string) bool {
	matching := 0
	for _, label := range series.GetLabel() {
		if value, ok := want[label.GetName()]; ok && value == label.GetValue() {
			matching++
		}
	}
	return matching == len(want)
}
