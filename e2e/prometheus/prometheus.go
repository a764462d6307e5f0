// Package prometheus runs a real Prometheus, from the machine's packages, that scrapes what it is told to and answers queries.
package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/e2e/process"
)

const startTimeout = time.Minute

// Job is a scrape job with one target.
type Job struct {
	Name     string
	URL      string // without /metrics
	Interval time.Duration
	// The target's CA and the client certificate that it wants, as files; empty for plain HTTP.
	CA, Certificate, Key string
}

// Options say what to scrape, and by which rules to alert.
type Options struct {
	Dir     string // Prometheus keeps everything in here
	Address string // where it listens
	Jobs    []Job
	Rules   string // a file
}

// Server is a running Prometheus.
type Server struct {
	url     string
	process *process.Process
}

// Start returns once Prometheus is ready.
func Start(ctx context.Context, o Options) (*Server, error) {
	file, err := o.write()
	if err != nil {
		return nil, err
	}
	s := &Server{url: "http://" + o.Address}
	s.process, err = process.Start(process.Spec{
		Name: "prometheus", Path: "prometheus", LogFile: filepath.Join(o.Dir, "prometheus.log"),
		Args: []string{
			"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(o.Dir, "data"), "--web.listen-address=" + o.Address,
		},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.process.WaitReady(ctx, func(ctx context.Context) error { return s.get(ctx, "/-/ready", nil) }); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Stop ends it.
func (s *Server) Stop() error { return s.process.Stop() }

// write writes the configuration file.
func (o Options) write() (string, error) {
	var jobs []map[string]any
	for _, j := range o.Jobs {
		target, err := url.Parse(j.URL)
		if err != nil {
			return "", fmt.Errorf("the address of %s: %w", j.Name, err)
		}
		job := map[string]any{
			"job_name": j.Name, "scheme": target.Scheme, "static_configs": []any{map[string]any{"targets": []string{target.Host}}},
			"scrape_interval": j.Interval.String(), "scrape_timeout": j.Interval.String(),
		}
		if j.CA != "" {
			job["tls_config"] = map[string]string{"ca_file": j.CA, "cert_file": j.Certificate, "key_file": j.Key}
		}
		jobs = append(jobs, job)
	}
	text, err := yaml.Marshal(map[string]any{
		"global": map[string]string{"evaluation_interval": "1s"}, "rule_files": []string{o.Rules}, "scrape_configs": jobs,
	})
	if err != nil {
		return "", fmt.Errorf("encode the configuration: %w", err)
	}
	file := filepath.Join(o.Dir, "prometheus.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return file, nil
}

// Query evaluates an expression now, and returns the values of the series that are numbers. The error is Prometheus' own
// where it cannot read the expression.
func (s *Server) Query(ctx context.Context, expression string) ([]string, error) {
	var data struct {
		Type   string          `json:"resultType"`
		Result json.RawMessage `json:"result"`
	}
	if err := s.get(ctx, "/api/v1/query?query="+url.QueryEscape(expression), &data); err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}
	var series []struct {
		Value [2]any `json:"value"`
	}
	if data.Type != "vector" {
		return nil, fmt.Errorf("%s: a %s, and not a vector", expression, data.Type)
	}
	if err := json.Unmarshal(data.Result, &series); err != nil {
		return nil, fmt.Errorf("%s: %w", expression, err)
	}
	var values []string
	for _, one := range series {
		if value := fmt.Sprint(one.Value[1]); value != "NaN" {
			values = append(values, value)
		}
	}
	return values, nil
}

// Labels are the values of a label that series matching the selector have, as a dashboard's variable asks for them.
func (s *Server) Labels(ctx context.Context, label, selector string) (values []string, err error) {
	return values, s.get(ctx, "/api/v1/label/"+label+"/values?match[]="+url.QueryEscape(selector), &values)
}

// Rule is an alert as Prometheus runs it.
type Rule struct {
	Name   string `json:"name"`
	Query  string `json:"query"`
	Health string `json:"health"` // ok, once it has been evaluated
	Error  string `json:"lastError"`
}

// Rules are those of all files.
func (s *Server) Rules(ctx context.Context) (rules []Rule, err error) {
	var data struct {
		Groups []struct {
			Rules []Rule `json:"rules"`
		} `json:"groups"`
	}
	err = s.get(ctx, "/api/v1/rules", &data)
	for _, group := range data.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules, err
}

// get decodes the answer's data, unless data is nil.
func (s *Server) get(ctx context.Context, path string, data any) error {
	body, err := process.Get(ctx, http.DefaultClient, s.url+path)
	if err != nil || data == nil {
		return err
	}
	return json.Unmarshal(body, &struct {
		Data any `json:"data"`
	}{data})
}
