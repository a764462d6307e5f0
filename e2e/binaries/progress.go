package binaries

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// tick is short enough for CI systems that end a job which says nothing.
const tick = 5 * time.Second

// announce says that a long build has begun and, every tick, how long any build has taken. The returned function ends
// that and says how the build ended; a build that took less than a second is not worth a line.
func announce(w io.Writer, name string, long bool) (stop func(error)) {
	begin := time.Now()
	seconds := func() int { return int(time.Since(begin).Seconds()) }
	if long {
		fmt.Fprintf(w, "build %s ... (once; it is kept in .cache)\n", name)
	}
	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				fmt.Fprintf(w, "build %s ... %d s\n", name, seconds())
			case <-quit:
				return
			}
		}
	})
	return func(err error) {
		close(quit)
		running.Wait()
		switch {
		case err != nil:
			fmt.Fprintf(w, "build %s failed after %d s\n", name, seconds())
		case long || seconds() > 0:
			fmt.Fprintf(w, "build %s done in %d s\n", name, seconds())
		}
	}
}
