package certs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/certs"
)

// Two instances of jobgate keep one directory. Whatever is due is done once, by either of them, and the two ends connect all the
// time, also during a rotation of the CA.
func TestKeeper_TwoShareADirectory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{Lifetime: time.Minute})
		metrics := [2]*prometheus.Registry{}
		for i := range metrics {
			metrics[i] = prometheus.NewPedanticRegistry()
			keep(t, certs.OpenPKI(p.Dir()), metrics[i])
		}
		const seconds = 300
		for passed := range seconds {
			if passed == seconds/3 {
				must[certs.Rotation](t)(p.RotateCA(new(time.Minute)))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if err := handshake(t, first(snap(t, p).bothEnds(t)), second(snap(t, p).bothEnds(t))); err != nil {
				t.Fatalf("after %d s the two ends do not connect: %v", passed, err)
			}
		}
		total := 0.0
		for _, m := range metrics {
			total += metric(t, m, renewals, "renewed")
			if failed := metric(t, m, renewals, "failed"); failed != 0 {
				t.Errorf("%v failures", failed)
			}
		}
		// Each certificate every 40 to 42 s, and once more for the new CA.
		if least, most := 2.0*(seconds/42), 2.0*(seconds/40+1); total < least || total > most {
			t.Errorf("both together renewed %v certificates, want %v to %v", total, least, most)
		}
	})
}
