package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/process"
)

const (
	// settle is the honest load without the attacker, before and after it.
	settle = 5 * time.Second
	// recovery is what the contract gives jobgate after an attack.
	recovery = time.Second
	// countedLimit ends an attack that is counted and not timed.
	countedLimit = time.Hour
)

// play runs the honest load, the attack in the middle of it, and watches.
func play(ctx context.Context, in *installation, a attack, o options) (*result, error) {
	r := &result{attack: a, length: o.length, scale: o.scale}
	var err error
	if r.atRest, err = in.memory(ctx); err != nil {
		return nil, err
	}
	h := &honest{in: in}
	if err := h.logIn(ctx); err != nil {
		return nil, err
	}
	watched, unwatch := context.WithCancel(ctx)
	defer unwatch()
	w := &watch{in: in, honest: h, result: r}
	var watching sync.WaitGroup
	watching.Go(func() { w.run(watched) })

	living, die := context.WithCancel(ctx)
	defer die()
	var life sync.WaitGroup
	life.Go(func() { h.work(living) })
	arrive := func(d time.Duration) {
		bounded, stop := context.WithTimeout(living, d)
		defer stop()
		h.arrive(bounded)
	}
	w.enter("before")
	arrive(settle)
	w.enter("attack")
	h.attacked(living, in, a, o, r)
	w.enter("pause")
	pause(ctx, recovery)
	w.enter("after")
	arrive(settle)
	die()
	life.Wait()
	unwatch()
	watching.Wait()
	w.second(context.WithoutCancel(ctx)) // what the last second has left
	return r, ctx.Err()
}

// attacked is the attack, with jobs that log in during it.
func (h *honest) attacked(ctx context.Context, in *installation, a attack, o options, r *result) {
	length := o.length
	if a.counted {
		length = countedLimit
	}
	ctx, stop := context.WithTimeout(ctx, length)
	defer stop()
	begin, calls, keyReads := time.Now(), in.gitlab.Calls(gitlabtest.AnyEndpoint), in.gitlab.Calls(gitlabtest.KeySet)
	var arriving sync.WaitGroup
	arriving.Go(func() {
		bounded, stop := context.WithTimeout(ctx, o.length) // there are new jobs for no longer than that
		defer stop()
		h.arrive(bounded)
	})
	r.did = a.run(ctx, in)
	stop()
	arriving.Wait()
	r.took, r.calls = time.Since(begin), in.gitlab.Calls(gitlabtest.AnyEndpoint)-calls
	r.keyReads = in.gitlab.Calls(gitlabtest.KeySet) - keyReads
}

// watch prints a line each second.
type watch struct {
	in     *installation
	honest *honest
	result *result

	mu    sync.Mutex
	phase string
	calls int
}

// enter begins a phase; what was counted before belongs to the one before.
func (w *watch) enter(phase string) {
	w.collect()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = phase
}

func (w *watch) run(ctx context.Context) {
	fmt.Printf("%-7s %11s %9s %9s %9s %7s %8s %8s\n",
		"phase", "running ok", "new: job", "new: ID", "slowest", "GitLab", "circuit", "memory")
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.second(ctx)
		}
	}
}

// collect moves the counts of the moment to the phase's.
func (w *watch) collect() (running, byJob, byID counts, phase string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, h := w.result, w.honest
	byJobToken, byIDToken := &r.duringJob, &r.duringID
	switch w.phase {
	case "after":
		byJobToken, byIDToken = &r.afterJob, &r.afterID
	case "before":
		byJobToken, byIDToken = &r.beforeJob, &r.beforeID
	}
	return h.running.move(&r.running), h.byJobToken.move(byJobToken), h.byIDToken.move(byIDToken), w.phase
}

func (w *watch) second(ctx context.Context) {
	running, byJob, byID, phase := w.collect()
	calls := w.in.gitlab.Calls(gitlabtest.AnyEndpoint)
	memory, circuit := "?", "?"
	if m, err := w.in.metrics(ctx); err == nil {
		bytes := m["process_resident_memory_bytes"]
		w.result.highest = max(w.result.highest, bytes)
		memory, circuit = mebibytes(bytes), "closed"
		if m["jobgate_gitlab_circuit_open"] > 0 {
			circuit = "open"
			w.result.openFor++
		}
	}
	slowest := max(running.slowest, byJob.slowest, byID.slowest)
	fmt.Printf("%-7s %11s %9s %9s %9s %7d %8s %8s\n", phase, running, byJob, byID,
		slowest.Round(time.Millisecond), calls-w.calls, circuit, memory)
	w.calls = calls
}

func mebibytes(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }

func (in *installation) memory(ctx context.Context) (float64, error) {
	m, err := in.metrics(ctx)
	return m["process_resident_memory_bytes"], err
}

// metrics are the gauges of jobgate that have no labels.
func (in *installation) metrics(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	text, err := process.Get(ctx, http.DefaultClient, in.healthURL+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	gauges := map[string]float64{}
	for name, family := range families {
		if series := family.GetMetric(); len(series) == 1 && len(series[0].GetLabel()) == 0 {
			gauges[name] = series[0].GetGauge().GetValue()
		}
	}
	return gauges, nil
}
