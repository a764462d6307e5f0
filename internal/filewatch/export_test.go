package filewatch

import "context"

// MissingTime and ResyncTime are those of a Watcher.
const (
	MissingTime = missingTime
	ResyncTime  = resyncTime
)

// OnChecked has a Watcher tell of each look at the files, once it has called back if it had to.
func (w *Watcher) OnChecked(checked func()) { w.checked = checked }

// WatchWith replaces how a Watcher learns of changes in a directory.
func (w *Watcher) WatchWith(watch func(ctx context.Context, directory string, onEvent func())) {
	w.watch = watch
}
