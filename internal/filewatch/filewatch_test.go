package filewatch_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/internal/filewatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWatcher_CallsBackForEveryWayAFileChanges(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, file string)
	}{
		{"written in place", func(t *testing.T, file string) { write(t, filepath.Dir(file), "config.yaml", "new") }},
		{"replaced by rename", replace("new")},
		{"deleted and recreated", func(t *testing.T, file string) {
			must(t, os.Remove(file))
			write(t, filepath.Dir(file), "config.yaml", "new")
		}},
		{"kept as a backup and written again", func(t *testing.T, file string) {
			must(t, os.Rename(file, file+"~"))
			write(t, filepath.Dir(file), "config.yaml", "new")
		}},
		{"replaced by a link", func(t *testing.T, file string) {
			write(t, filepath.Dir(file), "other.yaml", "new")
			must(t, os.Remove(file))
			must(t, os.Symlink("other.yaml", file))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			write(t, filepath.Dir(file), "config.yaml", "old")
			w := watch(t, file)
			w.awaitCheck(t)
			row.change(t, file)
			w.awaitContent(t, "new")
		})
	}
}

func TestWatcher_CallsBackWhenAMountedConfigMapIsSwapped(t *testing.T) {
	mount := t.TempDir()
	publish(t, mount, "1", "old")
	must(t, os.Symlink("..data/config.yaml", filepath.Join(mount, "config.yaml")))
	w := watch(t, filepath.Join(mount, "config.yaml"))
	w.awaitCheck(t)
	publish(t, mount, "2", "old")
	must(t, os.RemoveAll(filepath.Join(mount, "..1")))
	w.awaitCheck(t)
	publish(t, mount, "3", "new")
	w.awaitContent(t, "new")
	if diff := cmp.Diff([]string{"new"}, w.contents()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWatcher_IsSilentWhereNoContentChanges(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, file string)
	}{
		{"touched", func(t *testing.T, file string) { must(t, os.Chtimes(file, time.Now(), time.Now())) }},
		{"written again", replace("old")},
		{"another file", func(t *testing.T, file string) { write(t, filepath.Dir(file), "other.yaml", "new") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			write(t, filepath.Dir(file), "config.yaml", "old")
			w := watch(t, file)
			w.awaitCheck(t)
			row.change(t, file)
			w.awaitCheck(t)
			replace("new")(t, file)
			w.awaitContent(t, "new")
			if diff := cmp.Diff([]string{"new"}, w.contents()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestWatcher_FollowsTheFilesItIsGiven(t *testing.T) {
	file, extra := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "token")
	write(t, filepath.Dir(file), "config.yaml", "old")
	w := watch(t, file)
	w.awaitCheck(t)

	w.SetFiles(extra) // missing as yet
	w.awaitCheck(t)
	replace("x")(t, extra)
	w.awaitContent(t, "old")

	w.SetFiles()
	replace("y")(t, extra)
	replace("new")(t, file)
	w.awaitContent(t, "new")
	if diff := cmp.Diff([]string{"old", "new"}, w.contents()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWatcher_SeesWhatChangedBeforeItRan(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, filepath.Dir(file), "config.yaml", "old")
	w := newWatched(file)
	write(t, filepath.Dir(file), "config.yaml", "new")
	w.run(t)
	w.awaitContent(t, "new")
}

// The directory is not there yet. Without inotify it is the same.
func TestWatcher_PollsADirectoryThatCannotBeWatched(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "missing")
	w := watch(t, filepath.Join(directory, "config.yaml"))
	w.awaitCheck(t)
	must(t, os.Mkdir(directory, 0o700))
	replace("new")(t, filepath.Join(directory, "config.yaml"))
	w.awaitContent(t, "new")
}

// watched is a Watcher that records what the configuration file says at each call back.
type watched struct {
	*filewatch.Watcher
	checks   chan struct{}
	changes  chan string
	mu       sync.Mutex
	observed []string
}

// watch starts a Watcher, which ends with the test.
func watch(t *testing.T, file string) *watched {
	t.Helper()
	w := newWatched(file)
	w.run(t)
	return w
}

func newWatched(file string) *watched {
	w := &watched{checks: make(chan struct{}, 1000), changes: make(chan string, 1000)}
	w.Watcher = filewatch.New(time.Millisecond, func() bool {
		data, err := os.ReadFile(file)
		if err != nil {
			data = []byte(err.Error())
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.observed = append(w.observed, string(data))
		w.changes <- string(data)
		return true
	}, file)
	w.OnChecked(func() { w.checks <- struct{}{} })
	return w
}

func (w *watched) run(t *testing.T) {
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{}))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// awaitCheck waits for a look at the files: the first one comes once their directories are watched.
func (w *watched) awaitCheck(t *testing.T) {
	t.Helper()
	await(t, w.checks)
}

// awaitContent waits for the call back that finds a text. A file that is written in place may be found half-written
// before.
func (w *watched) awaitContent(t *testing.T, want string) {
	t.Helper()
	for await(t, w.changes) != want {
	}
}

func (w *watched) contents() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.observed
}

// await gives up before the whole test run would.
func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(30 * time.Second):
		t.Fatal("nothing happened")
		panic("unreachable")
	}
}

// replace writes a file elsewhere on the same file system and renames it over the old one.
func replace(text string) func(t *testing.T, file string) {
	return func(t *testing.T, file string) {
		t.Helper()
		elsewhere := t.TempDir()
		write(t, elsewhere, "new", text)
		must(t, os.Rename(filepath.Join(elsewhere, "new"), file))
	}
}

// publish does what the kubelet does for a new version of a mounted ConfigMap.
func publish(t *testing.T, mount, version, text string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(mount, ".."+version), 0o700))
	write(t, filepath.Join(mount, ".."+version), "config.yaml", text)
	must(t, os.Symlink(".."+version, filepath.Join(mount, "..data_tmp")))
	must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
}

func write(t *testing.T, directory, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
