package eventually_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/internal/eventually"
)

// recorder is a test whose failure is looked at.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure runs a wait that is to fail, in a bubble whose time passes at once.
func failure(t *testing.T, wait func(testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		wait(r)
	}()
	<-ended
	return r.failure
}

func TestTrue_WaitsUntilItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		eventually.True(t, "three seconds have passed", func() bool { return time.Since(begin) >= 3*time.Second })
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestTrue_SaysWhatDidNotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := failure(t, func(t testing.TB) { eventually.True(t, "pigs fly", func() bool { return false }) })
		if want := "after 1m0s still not true: pigs fly"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func TestSucceeds_ShowsTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		eventually.Succeeds(t, func() error {
			if tries++; tries < 5 {
				return errors.New("not yet")
			}
			return nil
		})
		got := failure(t, func(t testing.TB) { eventually.Succeeds(t, func() error { return errors.New("no luck") }) })
		if want := "after 1m0s still: no luck"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
