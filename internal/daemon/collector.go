package daemon

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The heap of a jobgate with few jobs is so small that Go collects its garbage many times a second under load, which costs
// a tenth of the throughput. While that is so, the heap may grow a little further. GOMEMLIMIT holds all the same.
const (
	restPercent = 100 // Go's default
	busyPercent = 400
	// busyRoom bounds what the heap may grow by between two collections, beyond what Go's default allows.
	busyRoom = 32 << 20
	// busyCollections within a check are load.
	busyCollections = 10
	collectorCheck  = 5 * time.Second
	// restAfter checks without a collection jobgate is at rest, and gives memory back.
	restAfter = 12
)

// collector decides how far the heap may grow before the next collection.
type collector struct {
	busy  bool
	quiet int // checks without a collection
}

// check returns the percentage to set, and whether jobgate has come to rest; 0 changes nothing.
func (c *collector) check(collections, live uint64) (percent int, atRest bool) {
	if collections > 0 {
		c.quiet = 0
	} else {
		c.quiet++
	}
	switch {
	case collections >= busyCollections:
		c.busy = true
		return growth(live), false
	case c.busy && c.quiet >= restAfter:
		c.busy, c.quiet = false, 0
		return restPercent, true
	}
	return 0, false
}

// growth is busyPercent of a small heap, and ever less of a larger one.
func growth(live uint64) int {
	return int(min(busyPercent, max(restPercent, 100*busyRoom/max(live, 1))))
}

// tuneCollector runs until the context ends, unless the environment has decided.
func tuneCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	defer debug.SetGCPercent(restPercent)
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	before := samples[0].Value.Uint64()
	var c collector
	ticker := time.NewTicker(collectorCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		metrics.Read(samples)
		now := samples[0].Value.Uint64()
		percent, atRest := c.check(now-before, samples[1].Value.Uint64())
		before = now
		if percent != 0 {
			debug.SetGCPercent(percent)
		}
		if atRest {
			debug.FreeOSMemory()
		}
	}
}
