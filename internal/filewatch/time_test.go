package filewatch_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/filewatch"
)

const settleTime = 100 * time.Millisecond

func TestWatcher_ReadsOnceForABurstOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		for range 10 {
			w.event()
			time.Sleep(settleTime / 20)
		}
		if seen := w.observed(); seen.checks != 0 {
			t.Errorf("read %d times before the burst had settled", seen.checks)
		}
		time.Sleep(settleTime)
		if seen := w.observed(); seen.checks != 1 {
			t.Errorf("read %d times for one burst, want once", seen.checks)
		}
	})
}

func TestWatcher_IsNotHeldUpByEventsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		for range 100 {
			w.event()
			time.Sleep(settleTime / 10)
		}
		if seen := w.observed(); seen.checks < 5 || seen.checks > 10 {
			t.Errorf("read %d times in ten times the settling time, want 5 to 10", seen.checks)
		}
	})
}

func TestWatcher_ResyncsWithoutEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		write(t, filepath.Dir(w.file), "config.yaml", "new")
		time.Sleep(filewatch.ResyncTime - time.Nanosecond)
		if seen := w.observed(); seen.calls != 0 {
			t.Fatalf("called back %d times before the resync", seen.calls)
		}
		time.Sleep(2 * filewatch.ResyncTime)
		if seen := w.observed(); seen.calls != 1 {
			t.Errorf("called back %d times, want once", seen.calls)
		}
	})
}

func TestWatcher_ReportsAMissingFileAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		must(t, os.Remove(w.file))
		w.event()
		time.Sleep(settleTime + filewatch.MissingTime - time.Nanosecond)
		if seen := w.observed(); seen.checks != 1 || seen.calls != 0 {
			t.Fatalf("read %d times and called back %d times, want 1 and 0", seen.checks, seen.calls)
		}
		time.Sleep(3 * filewatch.ResyncTime)
		if seen := w.observed(); seen.calls != 1 {
			t.Errorf("called back %d times, want once", seen.calls)
		}
	})
}

func TestWatcher_IsSilentAboutAFileThatReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		must(t, os.Remove(w.file))
		w.event()
		time.Sleep(settleTime)
		if seen := w.observed(); seen.checks != 1 {
			t.Fatalf("read %d times, want once", seen.checks)
		}
		write(t, filepath.Dir(w.file), "config.yaml", "old")
		time.Sleep(3 * filewatch.ResyncTime)
		if seen := w.observed(); seen.calls != 0 {
			t.Errorf("called back %d times, want never", seen.calls)
		}
	})
}

func TestWatcher_RepeatsWhatWasNotAcceptedWithEveryResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		w.refuse = 3
		write(t, filepath.Dir(w.file), "config.yaml", "new")
		w.event()
		time.Sleep(settleTime)
		for resyncs := range 6 {
			if seen, want := w.observed(), min(1+resyncs, 4); seen.calls != want {
				t.Errorf("after %d resyncs: called back %d times, want %d", resyncs, seen.calls, want)
			}
			time.Sleep(filewatch.ResyncTime)
		}
	})
}

func TestWatcher_NeverCallsBackTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		w.takes = 10 * settleTime
		for _, text := range []string{"1", "2", "3", "4", "5"} {
			write(t, filepath.Dir(w.file), "config.yaml", text)
			w.event()
			time.Sleep(2 * settleTime)
		}
		time.Sleep(100 * settleTime)
		if seen := w.observed(); seen.calls != 2 || seen.atOnce != 1 {
			t.Errorf("called back %d times, %d at once, want 2 and 1", seen.calls, seen.atOnce)
		}
	})
}

func TestWatcher_LosesNoChangeToSetFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		write(t, filepath.Dir(w.file), "config.yaml", "new")
		w.SetFiles(w.file + ".token")
		w.event()
		time.Sleep(settleTime)
		if seen := w.observed(); seen.calls != 1 {
			t.Errorf("called back %d times, want once", seen.calls)
		}
	})
}

func TestWatcher_WatchesTheDirectoriesOfItsFilesUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchInBubble(t)
		own, a, b := filepath.Dir(w.file), filepath.Join("elsewhere", "a"), filepath.Join("elsewhere", "b")
		for _, row := range []struct {
			files []string
			want  map[string]int
		}{
			{nil, map[string]int{own: 1}},
			{[]string{filepath.Join(a, "ca"), filepath.Join(a, "token"), filepath.Join(own, "x")}, map[string]int{own: 1, a: 1}},
			{[]string{filepath.Join(b, "ca"), "elsewhere/./a/../b/token"}, map[string]int{own: 1, b: 1}},
			{nil, map[string]int{own: 1}},
			{[]string{filepath.Join(b, "ca")}, map[string]int{own: 1, b: 1}},
		} {
			w.SetFiles(row.files...)
			time.Sleep(settleTime)
			if diff := cmp.Diff(row.want, w.observed().watching); diff != "" {
				t.Errorf("%q: -want +got:\n%s", row.files, diff)
			}
		}
		w.end()
		if seen := w.snapshot(); len(seen.watching) > 0 {
			t.Errorf("still watching %v after Run", seen.watching)
		}
	})
}

// bubble is a Watcher whose time is faked and whose events are made by hand.
type bubble struct {
	*filewatch.Watcher
	file  string
	event func()
	// end ends Run.
	end func()
	// refuse is how many calls are not accepted, takes how long each one lasts.
	refuse int
	takes  time.Duration

	mu   sync.Mutex
	seen observations
}

type observations struct {
	checks, calls, running, atOnce int
	watching                       map[string]int
}

func watchInBubble(t *testing.T) *bubble {
	t.Helper()
	b := &bubble{file: filepath.Join(t.TempDir(), "config.yaml"), seen: observations{watching: map[string]int{}}}
	write(t, filepath.Dir(b.file), "config.yaml", "old")
	b.Watcher = filewatch.New(settleTime, b.onChange, b.file)
	b.OnChecked(func() { b.observe(func(seen *observations) { seen.checks++ }) })
	b.WatchWith(func(ctx context.Context, directory string, onEvent func()) {
		b.observe(func(seen *observations) { b.event, seen.watching[directory] = onEvent, seen.watching[directory]+1 })
		<-ctx.Done()
		time.Sleep(time.Nanosecond)
		b.observe(func(seen *observations) { delete(seen.watching, directory) })
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx)
	}()
	b.end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(b.end)
	synctest.Wait()
	return b
}

func (b *bubble) onChange() bool {
	accepted := false
	b.observe(func(seen *observations) {
		seen.calls++
		seen.running++
		seen.atOnce = max(seen.atOnce, seen.running)
		accepted = seen.calls > b.refuse
	})
	time.Sleep(b.takes)
	b.observe(func(seen *observations) { seen.running-- })
	return accepted
}

func (b *bubble) observe(what func(seen *observations)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what(&b.seen)
}

// observed is what there is to see once everything stands still.
func (b *bubble) observed() observations {
	synctest.Wait()
	return b.snapshot()
}

func (b *bubble) snapshot() observations {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen := b.seen
	seen.watching = maps.Clone(seen.watching)
	return seen
}
