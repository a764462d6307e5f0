package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is everything that was measured, and on what.
type report struct {
	Time         time.Time    `json:"time"`
	Took         string       `json:"took"`
	Commit       string       `json:"commit"`
	Machine      machine      `json:"machine"`
	MemoryAtRest int64        `json:"memoryAtRestBytes"`
	Benchmarks   []benchmark  `json:"benchmarks"`
	Cluster      []comparison `json:"cluster"`
	Watches      []watches    `json:"watches"`
}

// machine is what the figures were measured on.
type machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	Memory     string `json:"memory"`
	System     string `json:"system"`
	Go         string `json:"go"`
	Load       string `json:"loadBefore"` // of the last 1, 5 and 15 minutes
}

// describe fills in all that is known before. What the machine does not tell stays empty.
func (r *report) describe(ctx context.Context) {
	r.Time = time.Now().UTC().Truncate(time.Second)
	output := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).Output()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	find := func(file, pattern string) string {
		text, err := os.ReadFile(file)
		if m := regexp.MustCompile(pattern).FindSubmatch(text); err == nil && m != nil {
			return strings.TrimSpace(string(m[1]))
		}
		return ""
	}
	r.Commit = output("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
	r.Machine = machine{
		Processor: find("/proc/cpuinfo", `model name\s*: (.*)`), Processors: runtime.NumCPU(),
		System: strings.Trim(find("/etc/os-release", `PRETTY_NAME=(.*)`), `"`) + ", Linux " + output("uname", "-r"),
		Go:     runtime.Version(), Load: find("/proc/loadavg", `^(\S+ \S+ \S+)`),
	}
	if kilobytes, err := strconv.ParseFloat(find("/proc/meminfo", `MemTotal:\s+(\d+) kB`), 64); err == nil {
		r.Machine.Memory = fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))
	}
}

// figure is one of a Go benchmark's; none where it did not run.
func (r *report) figure(name, unit string) (float64, bool) {
	for _, b := range r.Benchmarks {
		if b.Name == name {
			value, ok := b.Figures[unit]
			return value, ok
		}
	}
	return 0, false
}

// row is a line of the table: what was measured, what beside it, and what is to be reached.
type row struct {
	Name, Figure, Beside string
	Goal                 string // empty: there is none
	Reached              bool
	Gate                 bool // a busy machine does not change it much, so a miss is an error
}

// rows are what the design promises, and what a reader asks first.
func (r *report) rows() []row {
	return slices.Concat(r.reviewRows(), r.costRows(), r.clusterRows())
}

func (r *report) reviewRows() (rows []row) {
	for _, each := range []struct {
		benchmark, name string
		goal            float64
	}{
		{"Throughput/SubjectAccessReview", "SubjectAccessReview of a known job", 0.75},
		{"Throughput/TokenReview", "TokenReview of a known job, job token", 0.70},
		{"Throughput/IDToken", "TokenReview of a known job, ID token", 0.70},
		{"FirstLogins/IDToken", "first login, ID token", 0},
		{"FirstLogins/JobToken", "first login, job token; GitLab (fake) on the same processors", 0},
	} {
		perSecond, found := r.figure(each.benchmark, "req/s")
		constant, _ := r.figure(each.benchmark, "constant-req/s")
		ratio, _ := r.figure(each.benchmark, "ratio")
		if !found {
			continue
		}
		one := row{
			Name: each.name, Figure: thousands(perSecond) + " a second",
			Beside: fmt.Sprintf("%.2f of the constant handler's %s", ratio, thousands(constant)),
		}
		if each.goal > 0 {
			one.Goal, one.Reached = fmt.Sprintf(">= %.2f", each.goal), ratio >= each.goal
		}
		rows = append(rows, one)
	}
	return rows
}

func (r *report) costRows() (rows []row) {
	for _, each := range []struct {
		benchmark, unit, name string
		show                  func(float64) string
		goal                  float64 // the most
		text                  string
		gate                  bool
	}{
		{"Authorize_KnownJob", "ns/op", "decision alone, no restriction", nanoseconds, 1000, "<= 1 µs", false},
		{"Authorize_KnownJob", "allocs/op", "its allocations", thousands, 0, "0", true},
		{"Authorize_FiftyRestrictions", "ns/op", "decision alone, 50 restrictions", nanoseconds, 5000, "<= 5 µs", false},
		{"Identify_FirstLogin/2048_bits", "ns/op", "verifying an ID token, key of 2,048 bits", nanoseconds, 1e6, "<= 1 ms", false},
		{"Identify_FirstLogin/2048_bits", "calls/op", "its calls to GitLab", thousands, 0, "0", true},
		{"Logins", "s/500-logins", "500 jobs log in at once, GitLab answers in 50 ms", seconds, 1.5, "<= 1.5 s", false},
		{"Memory_PerKnownJob", "bytes/job", "memory for each of 65,536 known jobs", size, 2048, "<= 2 KiB", true},
	} {
		if value, found := r.figure(each.benchmark, each.unit); found {
			rows = append(rows, row{Name: each.name, Figure: each.show(value), Goal: each.text, Reached: value <= each.goal, Gate: each.gate})
		}
	}
	if r.MemoryAtRest > 0 {
		rows = append(rows, row{
			Name: "resident memory at rest", Figure: size(float64(r.MemoryAtRest)), Goal: "<= 40 MiB", Reached: r.MemoryAtRest <= 40<<20,
			Gate: true,
		})
	}
	return rows
}

func (r *report) clusterRows() (rows []row) {
	for _, c := range r.Cluster {
		one := row{
			Name:   "through kube-apiserver as a CI job, " + c.Level.String(),
			Figure: thousands(c.Job.PerSecond) + " a second",
			Beside: fmt.Sprintf("%.2f of a ServiceAccount's %s", c.Ratio, thousands(c.ServiceAccount.PerSecond)),
		}
		if !c.Level.Distinct {
			one.Goal, one.Reached, one.Gate = ">= 0.95", c.Ratio >= 0.95, true
		}
		rows = append(rows, one)
	}
	return rows
}

// table is for a terminal.
func (r *report) table() string {
	var b strings.Builder
	line := "%-62s %14s  %-40s %-9s %s\n"
	fmt.Fprintf(&b, line, "measured", "figure", "beside", "goal", "")
	for _, w := range r.rows() {
		verdict := ""
		if w.Goal != "" && !w.Reached {
			verdict = "MISSED"
		}
		fmt.Fprintf(&b, line, w.Name, w.Figure, w.Beside, w.Goal, verdict)
	}
	for _, c := range r.Cluster {
		for _, l := range []struct {
			name string
			load load
		}{{"CI job", c.Job}, {"ServiceAccount", c.ServiceAccount}} {
			fmt.Fprintf(&b, "%-62s %14s  %s\n", fmt.Sprintf("  %s, %s: p50, p99", l.name, c.Level),
				fmt.Sprintf("%.1f, %.1f ms", l.load.P50, l.load.P99), l.load.processorText())
		}
	}
	for _, w := range r.Watches {
		fmt.Fprintf(&b, "%-62s %14d  opened in %.0f ms, the last heard of a change after %.0f ms\n", "watches held, "+w.User, w.Held, w.OpenAll, w.LastTold)
	}
	b.WriteString("\nevery Go benchmark:\n")
	for _, one := range r.Benchmarks {
		fmt.Fprintf(&b, "%-62s %s\n", one.Name, one.text())
	}
	return b.String()
}

func (l load) processorText() string {
	return fmt.Sprintf("processor for 1,000: kube-apiserver %.0f ms, jobgate %.0f ms, etcd %.0f ms",
		l.Processor["kube-apiserver"], l.Processor["jobgate"], l.Processor["etcd"])
}

// text has every figure but a time of 0, which stands for none.
func (b benchmark) text() string {
	var parts []string
	for unit, value := range b.Figures {
		if unit != "ns/op" || value != 0 {
			parts = append(parts, fmt.Sprintf("%s %s", strconv.FormatFloat(value, 'g', 4, 64), unit))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "  ")
}

// missed is an error if a figure is not what it is to be, wherever it was measured.
func (r *report) missed() error {
	var errs []error
	for _, w := range r.rows() {
		if w.Gate && !w.Reached {
			errs = append(errs, fmt.Errorf("%s: %s %s, goal %s", w.Name, w.Figure, w.Beside, w.Goal))
		}
	}
	return errors.Join(errs...)
}

// thousands writes 12345.6 as 12,346.
func thousands(value float64) string {
	text := strconv.FormatFloat(value, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func nanoseconds(value float64) string {
	d := time.Duration(value)
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%.0f ns", value)
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f µs", value/1e3)
	}
	return fmt.Sprintf("%.2f ms", value/1e6)
}

func seconds(value float64) string { return fmt.Sprintf("%.2f s", value) }

func size(value float64) string {
	if value < 1<<20 {
		return thousands(value) + " bytes"
	}
	return fmt.Sprintf("%.1f MiB", value/(1<<20))
}
