package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	alertsFile    = root + "manifests/monitoring/alerts.yaml"
	dashboardFile = root + "manifests/monitoring/dashboard.json"
)

// alertRules is a file of Prometheus' alerting rules, as far as jobgate's uses it.
type alertRules struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// The alerts concern metrics and labels that jobgate has, and each says how bad it is and what to do. End-to-end tests give
// them to Prometheus.
func TestAlerts_AreAboutWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(alertsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file alertRules
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	metrics, names := servedMetrics(t), map[string]bool{}
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			t.Run(r.Alert, func(t *testing.T) {
				if names[r.Alert] || !strings.HasPrefix(r.Alert, "Jobgate") {
					t.Error("the name is there twice, or is not of jobgate's")
				}
				names[r.Alert] = true
				if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) ||
					r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
					t.Errorf("labels %v and annotations %v lack a severity, a summary or an action", r.Labels, r.Annotations)
				}
				checkExpression(t, r.Expr, metrics)
			})
		}
	}
	if len(names) == 0 {
		t.Error("there is no alert")
	}
}

// The dashboard shows every metric that jobgate has, and no other.
func TestDashboard_ShowsEveryMetric(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	metrics, shown := servedMetrics(t), ""
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			t.Run(panel.Title, func(t *testing.T) { checkExpression(t, target.Expr, metrics) })
			shown += target.Expr + "\n"
		}
	}
	for name := range metrics {
		if !regexp.MustCompile(name + `(_bucket)?\{`).MatchString(shown) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

// checkExpression is no parser of PromQL. It finds what a change of the metrics would break: names, and labels in selectors.
func checkExpression(t *testing.T, expression string, metrics map[string][]string) {
	t.Helper()
	used := regexp.MustCompile(`(jobgate_[a-z_]+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(expression, -1)
	for _, m := range used {
		labels, known := metrics[m[1]]
		if !known { // the series of a histogram
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if base, ok := strings.CutSuffix(m[1], suffix); ok {
					labels, known = metrics[base]
				}
			}
		}
		if !known {
			t.Errorf("there is no metric %s", m[1])
		}
		for _, matcher := range regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`).FindAllStringSubmatch(m[2], -1) {
			// Prometheus adds instance to whatever it scrapes.
			if matcher[1] != "instance" && !slices.Contains(labels, matcher[1]) {
				t.Errorf("%s has no label %s", m[1], matcher[1])
			}
		}
	}
}
