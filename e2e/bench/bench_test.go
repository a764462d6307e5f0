package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const repository = "../.."

// The page, its pictures and the README's figures are what the figures beside them say, and were not changed by hand.
func TestDocs_AreWrittenFromTheFigures(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, figuresFile))
	if err != nil {
		t.Fatal(err)
	}
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	files, err := r.docs(repository)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(repository, name))
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("%s (-written +there); make bench UPDATE_DOCS=1 writes it:\n%s", name, diff)
		}
		if strings.HasSuffix(name, ".svg") {
			checkXML(t, name, want)
		}
	}
	for _, curve := range []struct{ prefix, suffix string }{
		{"LookupID_KnownJobs/", ""}, {"AllowedAgents/", "_agents_of_200_bytes"}, {"Authorize_Restrictions/", ""},
	} {
		if points := r.points(curve.prefix, curve.suffix); len(points) < 5 {
			t.Errorf("%s has the points %v", curve.prefix, points)
		}
	}
}

func checkXML(t *testing.T, name, text string) {
	t.Helper()
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func TestParseBenchmarks(t *testing.T) {
	got, err := parseBenchmarks([]byte(`goos: linux
BenchmarkThroughput/TokenReview-2         	       1	      7205 constant-req/s	         1.122 ratio	      8086 req/s
BenchmarkAllowedAgents/1_agents_of_200_bytes 	  200000	      5100 ns/op	  60.5 MB/s	     100 B/op	       3 allocs/op
PASS
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []benchmark{
		{"Throughput/TokenReview", map[string]float64{"constant-req/s": 7205, "ratio": 1.122, "req/s": 8086}},
		{"AllowedAgents/1_agents_of_200_bytes", map[string]float64{"ns/op": 5100, "MB/s": 60.5, "B/op": 100, "allocs/op": 3}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseBenchmarks([]byte("PASS\n")); err == nil {
		t.Error("no figures are no error")
	}
}

// The table names each figure that misses its goal. It is an error where a busy machine is no excuse.
func TestReport_Missed(t *testing.T) {
	r := &report{MemoryAtRest: 41 << 20, Benchmarks: []benchmark{
		{"Throughput/SubjectAccessReview", map[string]float64{"req/s": 74, "constant-req/s": 100, "ratio": 0.74}},
		{"Throughput/TokenReview", map[string]float64{"req/s": 70, "constant-req/s": 100, "ratio": 0.7}},
	}}
	// Two programs that compete for the processors are no steady measure, so their ratio is no error.
	if err := r.missed(); err == nil || !strings.Contains(err.Error(), "at rest") || strings.Contains(err.Error(), "Review") {
		t.Errorf("missed: %v", err)
	}
	if got := strings.Count(r.table(), "MISSED"); got != 2 {
		t.Errorf("the table says MISSED %d times:\n%s", got, r.table())
	}
}
