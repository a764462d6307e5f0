package main

import (
	"fmt"
	"strings"
	"time"
)

// What the figures are held against.
const (
	lookupsPerSecond = 100.0            // the logins' half of gitlab.rateLimit
	burst            = 1000             // of gitlab.rateLimit
	rate             = 200.0            // of gitlab.rateLimit
	maxAtRest        = 40 << 20         // bytes
	maxMemory        = 256 << 20        // bytes: the limit of the manifests
	keysPause        = 30 * time.Second // the least time between two reads of the key set
	maxNewLogin      = time.Second      // while nothing but slow lookups is in the way
)

// result is what was measured.
type result struct {
	attack attack
	length time.Duration
	scale  float64

	running                                                     tally
	beforeJob, beforeID, duringJob, duringID, afterJob, afterID tally

	did             string
	took            time.Duration
	calls, openFor  int
	keyReads        int
	atRest, highest float64
}

// row is one figure. What has no goal is there to be read.
type row struct {
	what, measured, goal string
	met                  bool
}

func (r *result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nthe attacker: %s in %s\n\n%-44s %-26s %-26s\n", r.did, r.took.Round(100*time.Millisecond), "what", "measured", "goal")
	for _, row := range r.rows() {
		mark := ""
		if row.goal != "" && !row.met {
			mark = "  MISSED"
		}
		fmt.Fprintf(&b, "%-44s %-26s %s%s\n", row.what, row.measured, row.goal, mark)
	}
	for _, failed := range []struct {
		what string
		of   *tally
	}{{"new logins with job tokens, during", &r.duringJob}, {"new logins with ID tokens, during", &r.duringID}, {"new logins after", &r.afterJob}} {
		if c := failed.of.counts(); c.failed > 0 {
			fmt.Fprintf(&b, "the latest failure of %s: %v\n", failed.what, c.latest)
		}
	}
	return b.String()
}

func (r *result) rows() []row {
	running, byID := r.running.counts(), r.duringID.counts()
	rows := []row{
		{
			what:     "requests of running jobs refused",
			measured: fmt.Sprintf("%d of %d", running.failed, running.ok+running.failed), goal: "0", met: running.failed == 0,
		},
		{what: "the slowest of them", measured: running.slowest.Round(time.Millisecond).String()},
		r.loginRow(),
		{
			what:     "first logins during it, ID tokens",
			measured: share(byID), goal: "100 %", met: byID.failed == 0,
		},
	}
	after, afterID := r.afterJob.counts(), r.afterID.counts()
	return append(rows,
		row{
			what: "first logins from 1 s after it on, both", measured: fmt.Sprintf("%s; %s", share(after), share(afterID)),
			goal: "100 %, each in 1 s", met: after.failed+afterID.failed == 0 && max(after.slowest, afterID.slowest) <= time.Second,
		},
		row{
			what: "requests to GitLab during it", measured: fmt.Sprint(r.calls), goal: fmt.Sprintf("<= %.0f, the rate limit", r.allowed()),
			met: float64(r.calls) <= r.allowed(),
		},
		row{
			what: "reads of GitLab's key set during it", measured: fmt.Sprint(r.keyReads), goal: "<= 1 in 30 s",
			met: r.keyReads <= 1+int(r.took/keysPause),
		},
		row{what: "seconds with an open circuit", measured: fmt.Sprint(r.openFor), goal: "0", met: r.openFor == 0},
		row{what: "memory at rest", measured: mebibytes(r.atRest), goal: "<= 40 MiB", met: r.atRest <= maxAtRest},
		row{what: "highest memory", measured: mebibytes(r.highest), goal: "<= 256 MiB, the manifests' limit", met: r.highest <= maxMemory},
	)
}

// loginRow holds first logins with job tokens against the lane's share for them where the attacker fills the lane.
func (r *result) loginRow() row {
	c := r.duringJob.counts()
	out := row{what: "first logins during it, job tokens", measured: share(c)}
	if wanted := r.attack.lookups * r.scale; wanted > lookupsPerSecond {
		least := lookupsPerSecond / (wanted + newJobsPerSecond)
		out.goal = fmt.Sprintf(">= %.0f %%, their share of the lane", 100*least)
		out.met = float64(c.ok) >= least*float64(c.ok+c.failed)
		return out
	}
	out.goal, out.met = "100 %, each in 1 s", c.failed == 0 && c.slowest <= maxNewLogin
	return out
}

// allowed is what the rate limit lets through, and the breaker's probes.
func (r *result) allowed() float64 { return burst + (rate+2)*r.took.Seconds() }

func share(c counts) string {
	if c.ok+c.failed == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, slowest %s", c, c.slowest.Round(time.Millisecond))
}
