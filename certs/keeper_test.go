package certs_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/jobgate/jobgate/certs"
)

// logged is what a keeper has logged.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) context(t *testing.T) context.Context {
	return klog.NewContext(t.Context(), funcr.New(func(_, line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, line)
	}, funcr.Options{}))
}

// with are the lines that have the words.
func (l *logged) with(words string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, words) {
			lines = append(lines, line)
		}
	}
	return lines
}

// metric is the value of the series with the labels' values, in their order.
func metric(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var values []string
			for _, label := range m.GetLabel() {
				values = append(values, label.GetValue())
			}
			if family.GetName() == name && cmp.Equal(values, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("there is no metric %s%v", name, labels)
	return 0
}

// keep runs a keeper for as long as the test runs.
func keep(t *testing.T, p *certs.PKI, r prometheus.Registerer) *logged {
	t.Helper()
	log := &logged{}
	keeper := must[*certs.Keeper](t)(certs.NewKeeper(p, r))
	ctx, stop := context.WithCancel(log.context(t))
	var running sync.WaitGroup
	running.Go(func() { keeper.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
	return log
}

const renewals = "jobgate_certificate_renewals_total"

func TestKeeper_OneMinuteCertificatesNeverExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{Lifetime: time.Minute})
		metrics := prometheus.NewPedanticRegistry()
		log := keep(t, p, metrics)
		const seconds = 600
		for range seconds {
			time.Sleep(time.Second)
			synctest.Wait() // a look that is due in this second may be writing
			s := snap(t, p)
			for _, file := range both {
				// A third of a minute is left when it is due, and a second goes by until that is noticed.
				if left := time.Until(s.leaf(t, file).NotAfter); left < 19*time.Second {
					t.Fatalf("%s has %s left", file, left)
				}
			}
		}
		synctest.Wait()
		got := metric(t, metrics, renewals, "renewed")
		if want := float64(2 * (seconds / 42)); got < want || got > 2*seconds/40 {
			t.Errorf("%v renewals in ten minutes, want %v or a few more", got, want)
		}
		if failed := metric(t, metrics, renewals, "failed"); failed != 0 {
			t.Errorf("%v failures", failed)
		}
		lines := log.with("Certificate renewed")
		if len(lines) != int(got) || !strings.Contains(lines[0], `"localhost"`) {
			t.Errorf("%d renewals were logged, the first as %s", len(lines), lines[0])
		}
		expiry := metric(t, metrics, "jobgate_certificate_expiry_timestamp_seconds", "client")
		if want := snap(t, p).leaf(t, certs.ClientFile).NotAfter.Unix(); expiry != float64(want) {
			t.Errorf("the client certificate's expiry is %v, want %d", expiry, want)
		}
	})
}

// For twice a CA's life, no one is refused who reads the files within a third of a certificate's life.
func TestKeeper_ReplacesItsCABeforeItExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const life, late = 15 * time.Minute, 5*time.Minute - 40*time.Second
		p := issued(t, certs.Request{Lifetime: life, CALifetime: 2 * time.Hour})
		metrics := prometheus.NewPedanticRegistry()
		connections, h, cas, checked := peers{}, history{}, map[string]bool{}, time.Now()
		h.note(t, p)
		time.Sleep(late)
		log := keep(t, p, metrics)
		for started := time.Now(); time.Since(started) < 4*time.Hour; time.Sleep(20 * time.Second) {
			synctest.Wait()
			if s := snap(t, p); !s.equal(h[len(h)-1].snapshot) {
				h.note(t, p)
			}
			now := h.window(late)
			if time.Since(checked) >= time.Minute {
				checked = time.Now()
				clear(connections) // what is valid changes with the time
			}
			connections.connect(t, now)
			s := now[len(now)-1].snapshot
			cas[s.leaf(t, certs.SigningFile).Subject.CommonName] = true
			for _, file := range both {
				if leaf := s.leaf(t, file); leaf.NotAfter.Sub(leaf.NotBefore) != life+certs.Backdate {
					t.Fatalf("the CA's end has shortened %s to %s", file, leaf.NotAfter.Sub(leaf.NotBefore))
				}
			}
		}
		if len(cas) < 3 {
			t.Errorf("%d CAs in 4 hours, none of which lives longer than 2", len(cas))
		}
		if failed := metric(t, metrics, renewals, "failed"); failed != 0 {
			t.Errorf("%v failures: %v", failed, log.with("could not"))
		}
		if lines := log.with("BEGIN"); len(lines) > 0 {
			t.Errorf("keys were logged: %v", lines)
		}
		if got := len(log.with("Restart API servers older than 1.36")); got < len(cas)-1 {
			t.Errorf("%d of %d rotations said what to restart", got, len(cas)-1)
		}
	})
}

func TestKeeper_KeepsWhatIsInUseAndTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{Lifetime: day})
		before := snap(t, p)
		metrics := prometheus.NewPedanticRegistry()
		log := keep(t, p, metrics)
		synctest.Wait()
		replace(t, filepath.Join(p.Dir(), certs.SigningFile), []byte("garbled"))
		time.Sleep(17 * time.Hour) // they are due meanwhile
		synctest.Wait()
		if s := snap(t, p); s[certs.ServingFile] != before[certs.ServingFile] || s[certs.ClientFile] != before[certs.ClientFile] {
			t.Error("a certificate has changed")
		}
		failed := metric(t, metrics, renewals, "failed")
		if failed < 60 {
			t.Errorf("%v attempts in 17 hours", failed)
		}
		lines := log.with("could not be renewed")
		if len(lines) != int(failed) || !strings.Contains(lines[0], filepath.Join(p.Dir(), certs.SigningFile)) {
			t.Errorf("%d failures were logged, the first as %v", len(lines), lines[:1])
		}
		if expiry := metric(t, metrics, "jobgate_certificate_expiry_timestamp_seconds", "signing_ca"); expiry == 0 {
			t.Error("the metric of the CA's expiry is gone")
		}

		before.restore(t, p, certs.SigningFile)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := metric(t, metrics, renewals, "renewed"); got != 2 {
			t.Errorf("%v renewals after the CA was restored", got)
		}
		if again := metric(t, metrics, renewals, "failed"); again > failed+1 {
			t.Errorf("%v failures after it was restored", again-failed)
		}
	})
}

func TestKeeper_SaysOnceWhatItLeavesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		snapshot{certs.ServingFile: string(foreignPair(t))}.restore(t, p, certs.ServingFile)
		log := keep(t, p, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if lines := log.with("not renewed here"); len(lines) != 1 || !strings.Contains(lines[0], "corporate-ca") {
			t.Errorf("logged: %v", lines)
		}
	})
}

func TestKeeper_SaysOnceWhatIsOpenToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		chmod(t, p, ".", 0o777)
		chmod(t, p, certs.ServingFile, 0o644)
		log := keep(t, p, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		lines := log.with("open to other users")
		for _, want := range []string{"run chmod 0755 " + p.Dir() + "\"", "run chmod 0640 " + filepath.Join(p.Dir(), certs.ServingFile)} {
			if got := len(log.with(want)); got != 1 {
				t.Errorf("%d lines say %s: %v", got, want, lines)
			}
		}
		if len(lines) != 2 {
			t.Errorf("logged: %v", lines)
		}
	})
}

func TestKeeper_RenewsWhatExpiredWhileJobgateWasDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		time.Sleep(12 * year) // the CA has, too
		log := &logged{}
		must[*certs.Keeper](t)(certs.NewKeeper(p, nil)).Check(log.context(t))
		s := snap(t, p)
		if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil {
			t.Errorf("the two ends do not connect: %v", err)
		}
	})
}

func TestNewKeeper_DirectoryThatIsNone(t *testing.T) {
	dir := t.TempDir()
	if _, err := certs.NewKeeper(certs.OpenPKI(filepath.Join(dir, "missing")), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	file := filepath.Join(dir, "file")
	replace(t, file, nil)
	if _, err := certs.NewKeeper(certs.OpenPKI(file), nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file: %v", err)
	}
}
