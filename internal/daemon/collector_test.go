package daemon

import "testing"

func TestCollector_GrowsTheHeapUnderLoadAndRestsAfterIt(t *testing.T) {
	const small = 4 << 20
	rows := []struct {
		name        string
		collections uint64 // in each check
		live        uint64
		checks      int // of which the last one counts
		percent     int
		atRest      bool
	}{
		{name: "nothing to do at rest", checks: 1, live: small},
		{name: "a few collections are no load", collections: busyCollections - 1, live: small, checks: 1},
		{name: "load", collections: busyCollections, live: small, checks: 1, percent: busyPercent},
		{name: "load with a larger heap", collections: 100, live: 16 << 20, checks: 1, percent: 200},
		{name: "load with a large heap", collections: 100, live: 100 << 20, checks: 1, percent: restPercent},
		{name: "load that goes on", collections: 1, live: small, checks: 2 * restAfter},
		{name: "not yet at rest", live: small, checks: restAfter - 1},
	}
	var c collector
	for _, row := range rows {
		percent, atRest := 0, false
		for range row.checks {
			percent, atRest = c.check(row.collections, row.live)
		}
		if percent != row.percent || atRest != row.atRest {
			t.Errorf("%s: %d %%, at rest %t; want %d %%, %t", row.name, percent, atRest, row.percent, row.atRest)
		}
	}
	if percent, atRest := c.check(0, small); percent != restPercent || !atRest {
		t.Errorf("after a minute without a collection: %d %%, at rest %t", percent, atRest)
	}
	if percent, _ := c.check(0, small); percent != 0 {
		t.Errorf("after that: %d %%", percent)
	}
}
