package job_test

import (
	"testing"
	"testing/synctest"
)

func TestConfigure_AnotherRevisionIsLookedUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{answer: runs}
		r := newRegistry(t, s, defaults)
		lookup(t, r, "token")
		r.Configure(s.sources(), defaults)
		lookup(t, r, "token")
		wantCalls(t, s, 1)

		more := defaults
		more.Revision = "another"
		r.Configure(s.sources(), more)
		lookup(t, r, "token")
		wantCalls(t, s, 2)
		lookup(t, r, "token")
		wantCalls(t, s, 2)
	})
}

func TestConfigure_LaterLookupsGoToTheNewSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := &source{answer: runs}, &source{answer: runs}
		r := newRegistry(t, before, defaults)
		lookup(t, r, "one")
		r.Configure(after.sources(), defaults)
		lookup(t, r, "two")
		wantCalls(t, before, 1)
		wantCalls(t, after, 1)
	})
}

// A record that was dropped does not count as written.
func TestRecordOnce_DroppedRecordIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRegistry(t, &source{answer: runs}, defaults)
		tried := 0
		for _, kept := range []bool{false, false, true, true} {
			lookup(t, r, "token").RecordOnce(func() bool { tried++; return kept })
		}
		if tried != 3 {
			t.Errorf("tried %d times, want until the third was kept", tried)
		}
	})
}
