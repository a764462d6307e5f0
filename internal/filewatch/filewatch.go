// Package filewatch tells when the content of files has changed: the configuration's, what it names, certificates.
//
// It knows paths and digests. It must not know what the files are for.
package filewatch

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/file"
)

const (
	// missingTime is how long a file may be missing while it is being replaced.
	missingTime = time.Second
	// resyncTime is how soon a change is seen of which the system tells nothing: on a network file system, or through a
	// symbolic link into another directory.
	resyncTime = time.Minute
	// pollTime is how soon it is seen once the directory could not be watched, mostly because the node has no inotify instance
	// left (fs.inotify.max_user_instances).
	pollTime = time.Second
	// maxFileBytes bounds what is read of a file: 4 MiB, ten times the certificates that a system trusts.
	maxFileBytes = 4 << 20
)

// Watcher calls back when the content of a file has changed. The file may be written in place or renamed over the old one,
// or a symbolic link may be swapped, as in a mounted ConfigMap or Secret. The same content written again is no change. A
// missing file counts as changed only if it has not come back within a second.
//
// It watches the directories of the files, because a watch on a file ends when the file is replaced.
type Watcher struct {
	onChange func() (accepted bool)
	settle   time.Duration
	watch    watchFunc
	// checked is called after each look at the files; for tests.
	checked func()

	// events has room for one: the look that is due covers every further event.
	events chan struct{}
	// moved tells Run that the directories may be others.
	moved chan struct{}

	always []string

	mu   sync.Mutex
	seen map[string]digest
}

// watchFunc calls onEvent whenever something may have changed in a directory, until ctx ends.
type watchFunc func(ctx context.Context, directory string, onEvent func())

// digest is that of a file's content, and zero if the file is missing or cannot be read.
type digest [sha256.Size]byte

// New returns a Watcher of some files. A change is what differs from their content at this moment, so a caller that makes
// the Watcher before it reads the files misses none. The files are looked at when no event has come for the settling time
// that began with the first one: an editor, the kubelet or an administrator makes several changes in a row.
//
// Run calls onChange, never twice at once, and onChange may call SetFiles. If it does not accept what it found, it is
// called again with every resync until it does: the reason may lie in a file that is not watched.
func New(settle time.Duration, onChange func() (accepted bool), files ...string) *Watcher {
	w := &Watcher{
		onChange: onChange,
		settle:   settle,
		watch:    watchDirectory,
		checked:  func() {},
		events:   make(chan struct{}, 1),
		moved:    make(chan struct{}, 1),
		always:   files,
	}
	w.SetFiles()
	return w
}

// SetFiles replaces the files that are watched besides those of New. A new one has to differ from its content at this
// moment, so SetFiles comes before the files are read.
func (w *Watcher) SetFiles(files ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[string]digest, len(w.always)+len(files))
	for _, path := range slices.Concat(w.always, files) {
		path = filepath.Clean(path)
		if known, ok := w.seen[path]; ok {
			seen[path] = known
		} else {
			seen[path] = digestOf(path)
		}
	}
	w.seen = seen
	notify(w.moved)
}

// Run watches until ctx ends, and leaves nothing running. It is called once.
func (w *Watcher) Run(ctx context.Context) {
	directories := directoryWatches{watch: w.watch, onEvent: func() { notify(w.events) }, cancels: map[string]func(){}}
	defer directories.stop()
	resync := time.NewTicker(resyncTime)
	defer resync.Stop()
	var settled, stillMissing <-chan time.Time
	accepted := true
	for {
		final := false // a missing file counts
		select {
		case <-ctx.Done():
			return
		case <-w.moved:
			directories.set(ctx, w.directories())
			continue
		case <-w.events:
			if settled == nil {
				settled = time.After(w.settle)
			}
			continue
		case <-settled:
			settled = nil
		case <-stillMissing:
			stillMissing, final = nil, true
		case <-resync.C:
			final = true
		}
		differs, missing := w.look(final)
		if missing && stillMissing == nil {
			stillMissing = time.After(missingTime)
		}
		if differs || (final && !accepted) {
			accepted = w.onChange()
		}
		w.checked()
	}
}

// look compares the files with what was seen before. A file that has gone missing is new only if this look is final;
// otherwise it is left for the next one.
func (w *Watcher) look(final bool) (differs, missing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, before := range w.seen {
		switch now := digestOf(path); {
		case now == before:
		case now == digest{} && !final:
			missing = true
		default:
			w.seen[path] = now
			differs = true
		}
	}
	return differs, missing
}

func (w *Watcher) directories() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var directories []string
	for path := range w.seen {
		directories = append(directories, filepath.Dir(path))
	}
	slices.Sort(directories)
	return slices.Compact(directories)
}

// directoryWatches are the watches under way, one for each directory.
type directoryWatches struct {
	watch   watchFunc
	onEvent func()
	cancels map[string]func()
	running sync.WaitGroup
}

// set starts the watches that are missing and ends those that are no longer wanted.
func (d *directoryWatches) set(ctx context.Context, directories []string) {
	for directory, cancel := range d.cancels {
		if !slices.Contains(directories, directory) {
			cancel()
			delete(d.cancels, directory)
		}
	}
	for _, directory := range directories {
		if _, ok := d.cancels[directory]; ok {
			continue
		}
		watchCtx, cancel := context.WithCancel(ctx)
		d.cancels[directory] = cancel
		d.running.Go(func() { d.watch(watchCtx, directory, d.onEvent) })
	}
}

func (d *directoryWatches) stop() {
	for _, cancel := range d.cancels {
		cancel()
	}
	d.running.Wait()
}

// watchDirectory calls onEvent once the watch is set up, then for each event. It tries a failed watch again with every
// resync; from the first failure on it also calls onEvent every pollTime.
func watchDirectory(ctx context.Context, directory string, onEvent func()) {
	logger := klog.FromContext(ctx).WithValues("folder", directory)
	var polling sync.WaitGroup
	defer polling.Wait()
	var failed sync.Once
	filesystem.WatchUntil(ctx, resyncTime, directory, onEvent, func(err error) {
		logger.Error(err, "Files are looked at every second: their folder cannot be watched", "every", pollTime)
		failed.Do(func() { polling.Go(func() { wait.Until(onEvent, pollTime, ctx.Done()) }) })
	})
}

func digestOf(path string) digest {
	data, err := file.Read(path, maxFileBytes)
	if err != nil {
		return digest{}
	}
	return sha256.Sum256(data)
}

// notify leaves a signal, unless one is waiting already.
func notify(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
