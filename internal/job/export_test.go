package job

import "time"

// SetClock replaces how the registry tells the time. It comes before the first lookup.
func (r *Registry) SetClock(elapsed func() time.Duration, now func() time.Time) {
	r.clock = clock{elapsed: elapsed, now: now}
}
