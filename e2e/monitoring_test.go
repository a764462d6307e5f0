package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	promql "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/prometheus"
)

const monitoringFolder = "../manifests/monitoring/"

// promtool checks the rules, and plays what makes each alert fire, and how long that takes.
func TestAlerts_FireWhenTheyShould(t *testing.T) {
	const cases = "testdata/alerts.test.yaml"
	for _, args := range [][]string{{"check", "rules", monitoringFolder + "alerts.yaml"}, {"test", "rules", cases}} {
		command := exec.CommandContext(t.Context(), "promtool", args...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	text, err := os.ReadFile(cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range alertNames(t) {
		if !strings.Contains(string(text), fmt.Sprintf("exp_samples: [{labels: '{alertname=%q", name)) {
			t.Errorf("no case of %s makes %s fire", cases, name)
		}
	}
}

func alertNames(t *testing.T) (names []string) {
	t.Helper()
	text, err := os.ReadFile(monitoringFolder + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert string `json:"alert"`
			} `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, rule := range file.Groups[0].Rules {
		names = append(names, rule.Alert)
	}
	return names
}

// grafanaDashboard is the dashboard as Grafana's own types read it: an unknown or missing field is an error.
func grafanaDashboard(t *testing.T) dashboard.Dashboard {
	t.Helper()
	text, err := os.ReadFile(monitoringFolder + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	types := cog.NewRuntime()
	types.RegisterPanelcfgVariant(stat.VariantConfig())
	types.RegisterPanelcfgVariant(table.VariantConfig())
	types.RegisterPanelcfgVariant(timeseries.VariantConfig())
	types.RegisterDataqueryVariant(promql.VariantConfig())
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(text); err != nil {
		t.Fatalf("Grafana cannot read it: %v", err)
	}
	if err := d.Validate(); err != nil {
		t.Fatalf("Grafana would refuse it: %v", err)
	}
	return d
}

// The dashboard can be imported anywhere: it has a fixed uid, no id of one Grafana, and takes its data source from a
// variable. Its panels can be told apart, and do not cover each other.
func TestDashboard_IsOneOfGrafanas(t *testing.T) {
	d := grafanaDashboard(t)
	if d.Id != nil || d.Uid == nil || *d.Uid != "jobgate" {
		t.Error("the dashboard has an id of one Grafana, or another uid than jobgate")
	}
	if first := d.Templating.List[0]; first.Type != dashboard.VariableTypeDatasource || first.Name != "datasource" {
		t.Errorf("the first variable is %s, and not the data source", first.Name)
	}
	const width = 24
	ids, taken := map[uint32]bool{}, map[[2]uint32]string{}
	for _, p := range panels(d) {
		title, at := *p.Title, p.GridPos
		if ids[*p.Id] {
			t.Errorf("%s: the id %d is there twice", title, *p.Id)
		}
		ids[*p.Id] = true
		if p.Description == nil || len(p.Targets) == 0 || *p.Datasource.Uid != "${datasource}" {
			t.Errorf("%s lacks a description, a query or the data source", title)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]uint32{x, y}]; other != "" || x >= width {
					t.Fatalf("%s covers %q, or leaves the page", title, other)
				}
				taken[[2]uint32{x, y}] = title
			}
		}
	}
}

// panels are the dashboard's, without the headings of its rows.
func panels(d dashboard.Dashboard) (all []*dashboard.Panel) {
	for _, each := range d.Panels {
		if each.Panel != nil {
			all = append(all, each.Panel)
		}
	}
	return all
}

// A Prometheus that scrapes a jobgate and an API server has data for every panel, and can evaluate every alert. Each metric
// that an alert uses is there.
func TestMonitoring_EveryQueryHasData(t *testing.T) {
	m := startMonitored(t)
	server := m.watch(t)
	m.work(t)
	m.awaitScrape(t, server)
	m.work(t) // rates need what changes between two scrapes

	for _, p := range panels(grafanaDashboard(t)) {
		for _, target := range p.Targets {
			query := asGrafana.Replace(target.(*promql.Dataquery).Expr)
			t.Run(*p.Title, func(t *testing.T) { wantData(t, server, query) })
		}
	}
	rules, err := server.Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(rules) != len(alertNames(t)) {
		t.Errorf("Prometheus has %d rules", len(rules))
	}
	for _, rule := range rules {
		t.Run(rule.Name, func(t *testing.T) {
			if _, err := server.Query(t.Context(), rule.Query); err != nil || rule.Error != "" {
				t.Errorf("%v%s", err, rule.Error)
			}
			for _, metric := range metricName.FindAllString(rule.Query, -1) {
				wantData(t, server, metric)
			}
		})
	}
	if instances, err := server.Labels(t.Context(), "instance", "jobgate_build_info"); err != nil || len(instances) != 1 {
		t.Errorf("the variable instance has the values %q, %v", instances, err)
	}
}

var (
	// asGrafana puts in what Grafana does for all instances, when Prometheus scrapes every 15 s.
	asGrafana  = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")
	metricName = regexp.MustCompile(`\b(jobgate|apiserver)_[a-z_]+\b`)
)

func wantData(t *testing.T, server *prometheus.Server, query string) {
	t.Helper()
	eventually.Succeeds(t, func() error {
		values, err := server.Query(t.Context(), query)
		if err == nil && len(values) == 0 {
			err = fmt.Errorf("no data for %s", query)
		}
		return err
	})
}
