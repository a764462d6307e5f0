package config

import (
	"context"
	"time"
)

// SettleTime and ResyncTime are the Watcher's own.
const (
	SettleTime = settleTime
	ResyncTime = resyncTime
)

// OnChecked has a Watcher tell of each look at the files, once it has called back if it had to.
func (w *Watcher) OnChecked(checked func()) { w.checked = checked }

// WatchWith replaces how a Watcher learns of changes in a directory.
func (w *Watcher) WatchWith(watch func(ctx context.Context, directory string, onEvent func())) {
	w.watch = watch
}

// Intervals replaces a Watcher's own.
func (w *Watcher) Intervals(settle, resync time.Duration) { w.settle, w.resync = settle, resync }
