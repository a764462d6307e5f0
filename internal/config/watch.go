package config

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/klog/v2"
)

const (
	// settleTime lets a burst of events, as an editor or the kubelet makes them, end before the files are read.
	settleTime = 100 * time.Millisecond
	// resyncTime is how soon a change is seen of which the system tells nothing: on a network file system, through a
	// symbolic link into another directory, or where no watch can be had.
	resyncTime = time.Minute
)

// Watcher calls back when the content of a watched file is another than it was. It makes no difference whether the file
// is written, or another one is renamed over it, or a symbolic link is swapped as in a mounted ConfigMap or Secret; nor
// is it a change to write the same content anew. A file that is missing is given time to return: only one that is still
// missing at the next resync, within a minute, counts as changed.
//
// It watches the directories of the files and not the files, because a watch on a file ends with its replacement.
type Watcher struct {
	onChange func() (accepted bool)
	settle   time.Duration
	resync   time.Duration
	watch    watchFunc
	// checked is called after each look at the files; for tests.
	checked func()

	// events has a place for one: an event that finds it taken will be covered by the look that is due.
	events chan struct{}
	// moved tells Run that the directories may be others.
	moved chan struct{}

	mu   sync.Mutex
	main string
	seen map[string]digest
}

// watchFunc calls onEvent whenever something may have changed in a directory, until ctx ends.
type watchFunc func(ctx context.Context, directory string, onEvent func())

// digest is of a file's content. A file that is missing, or cannot be read, has none of its own: it is the zero digest.
type digest [sha256.Size]byte

// NewWatcher returns a Watcher of the configuration file. What the file says at this moment is what it later has to
// differ from, so that no change is lost if the Watcher is there before the file is loaded.
//
// onChange is called by Run, never twice at once, and may call SetFiles. Where it says that it did not accept what it
// found, it is called again with every resync until it does: the reason may lie in a file that is not watched.
func NewWatcher(file string, onChange func() (accepted bool)) *Watcher {
	w := &Watcher{
		onChange: onChange,
		settle:   settleTime,
		resync:   resyncTime,
		watch:    watchDirectory,
		checked:  func() {},
		events:   make(chan struct{}, 1),
		moved:    make(chan struct{}, 1),
		main:     filepath.Clean(file),
	}
	w.SetFiles()
	return w
}

// SetFiles replaces the files that are watched besides the configuration file. A file that was not watched before has
// to differ from what it says at this moment, so SetFiles comes before the files are read.
func (w *Watcher) SetFiles(files ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(map[string]digest, len(files)+1)
	for _, file := range append([]string{w.main}, files...) {
		file = filepath.Clean(file)
		if known, ok := w.seen[file]; ok {
			seen[file] = known
		} else {
			seen[file] = digestOf(file)
		}
	}
	w.seen = seen
	notify(w.moved)
}

// Run watches until ctx ends. Nothing of it runs on after it has returned. It is called once.
func (w *Watcher) Run(ctx context.Context) {
	directories := directoryWatches{watch: w.watch, onEvent: func() { notify(w.events) }, cancels: map[string]func(){}}
	defer directories.stop()
	resync := time.NewTicker(w.resync)
	defer resync.Stop()
	var settled <-chan time.Time
	accepted := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.moved:
			directories.set(ctx, w.directories())
		case <-w.events:
			if settled == nil {
				settled = time.After(w.settle)
			}
		case <-settled:
			settled = nil
			if w.differs(false) {
				accepted = w.onChange()
			}
			w.checked()
		case <-resync.C:
			if w.differs(true) || !accepted {
				accepted = w.onChange()
			}
			w.checked()
		}
	}
}

// differs looks at the files and remembers what it sees. A missing file counts only where countMissing says so.
func (w *Watcher) differs(countMissing bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	differs := false
	for file, before := range w.seen {
		now := digestOf(file)
		missing := now == digest{}
		if now == before || (missing && !countMissing) {
			continue
		}
		w.seen[file] = now
		differs = true
	}
	return differs
}

func (w *Watcher) directories() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var directories []string
	for file := range w.seen {
		directories = append(directories, filepath.Dir(file))
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

// watchDirectory reports once the watch is there, then each event. A watch that fails is tried again with every resync.
func watchDirectory(ctx context.Context, directory string, onEvent func()) {
	logger := klog.FromContext(ctx).WithValues("directory", directory)
	filesystem.WatchUntil(ctx, resyncTime, directory, onEvent, func(err error) {
		logger.Error(err, "Changes of configuration files are seen late: their directory cannot be watched",
			"resync", resyncTime)
	})
}

// digestOf reads no more of a file than Load accepts.
func digestOf(file string) digest {
	data, err := readRegular(file)
	if err != nil {
		return digest{}
	}
	return sha256.Sum256(data)
}

// notify leaves a signal for whoever reads the channel next, unless there is one already.
func notify(signal chan<- struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}
