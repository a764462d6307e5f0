package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// Certificates that expire in a minute are renewed under load, and no client is refused: not those that connect all the time,
// not those that keep a connection that began with a certificate that has expired since, and not a real API server.
func TestCerts_RenewedUnderLoad(t *testing.T) {
	t.Parallel() // it waits for the clock, and has a jobgate and an API server to itself
	c := startKept(t, "jobgate-renewing", certs.Request{Lifetime: time.Minute})
	server, err := site.Plane.StartAPIServer(t.Context(), c.APIServer("kube-apiserver-of-renewing"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	shell := bearer(t, server, c.token)

	const (
		atLeast, atMost = 80 * time.Second, 240 * time.Second
		generations     = 3 // of both certificates
	)
	atStart := c.leaf(t, certs.ServingFile)
	serials := map[string]bool{}
	logins, stop := keepLoggingIn(t, shell)
	sent := c.load(t, false, every(time.Second, func(elapsed time.Duration) bool {
		for _, file := range []string{certs.ServingFile, certs.ClientFile} {
			serials[file+" "+c.leaf(t, file).SerialNumber.String()] = true
		}
		return elapsed < atLeast || (len(serials) < 2*generations && elapsed < atMost)
	}))
	stop()
	t.Logf("%d reviews and %d kubectl commands with %d certificates", sent, <-logins, len(serials))

	if len(serials) < 2*generations {
		t.Errorf("%d certificates were in use, want %d of each", len(serials), generations)
	}
	if time.Now().Before(atStart.NotAfter) {
		t.Error("the certificate of the start is still valid: this has shown nothing")
	}
	if failed := jobgateMetric(t, c.Jobgate, "jobgate_certificate_renewals_total", map[string]string{"result": "failed"}); failed != 0 {
		t.Errorf("%v renewals failed", failed)
	}
	// Each with what it is and why, and nothing of a key.
	lines := logLines(t, c.Jobgate, "Certificate renewed")
	if len(lines) < len(serials)-2 {
		t.Errorf("%d renewals were logged", len(lines))
	}
	if secrets := logLines(t, c.Jobgate, "PRIVATE KEY"); len(secrets) > 0 {
		t.Errorf("a key was logged: %s", secrets[0])
	}
}

// keepLoggingIn runs kubectl in the shell until it is told to stop, and then says how often it did; each has to succeed.
func keepLoggingIn(t *testing.T, shell *kubectl.Workspace) (logins <-chan int, stop func()) {
	t.Helper()
	count, stopped := make(chan int, 1), make(chan struct{})
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stopped:
				count <- n
				return
			case <-time.After(time.Second):
			}
			result, err := shell.Run(t.Context(), "auth", "whoami")
			if err != nil || !result.OK() {
				t.Errorf("kubectl auth whoami: %v %s", err, result)
			}
		}
	}()
	return count, func() { close(stopped) }
}

// A broken certificate changes nothing but the log and a metric. A good one is loaded.
func TestCerts_BrokenFileLeavesTheOldCertificateServing(t *testing.T) {
	c := startKept(t, "jobgate-broken", certs.Request{})
	serving := filepath.Join(c.pki.Dir(), certs.ServingFile)
	good := contentOf(t, serving)
	refused := map[string]string{"use": "serving", "result": "refused"}
	rows := []struct {
		name    string
		content []byte
	}{
		{"half a file", good[:len(good)/2]},
		{"no PEM", []byte("garbled\n")},
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			putInPlace(t, serving, row.content)
			eventually.Succeeds(t, func() error { return c.counts(t.Context(), "jobgate_certificate_reloads_total", refused, float64(i+1)) })
			if err := c.fresh(t.Context()); err != nil {
				t.Errorf("a review with the old certificate: %v", err)
			}
			lines := logLines(t, c.Jobgate, "Certificate files refused")
			if len(lines) != i+1 || !strings.Contains(lines[i], serving) {
				t.Errorf("the log says %q", lines)
			}
		})
	}

	putInPlace(t, serving, good)
	if _, err := c.pki.Renew(true); err != nil {
		t.Fatal(err)
	}
	renewed := c.leaf(t, certs.ServingFile)
	eventually.Succeeds(t, func() error { return c.serves(renewed) })
	applied := map[string]string{"use": "serving", "result": "applied"}
	eventually.Succeeds(t, func() error { return c.counts(t.Context(), "jobgate_certificate_reloads_total", applied, 1) })
	if err := c.fresh(t.Context()); err != nil {
		t.Errorf("a review with the renewed certificate: %v", err)
	}
}

// serves fails unless the certificate is what jobgate presents.
func (c keptJobgate) serves(want *x509.Certificate) error {
	configuration, err := c.tls()
	if err != nil {
		return err
	}
	connection, err := tls.Dial("tcp", strings.TrimPrefix(c.URL, "https://"), configuration)
	if err != nil {
		return err
	}
	defer connection.Close()
	if got := connection.ConnectionState().PeerCertificates[0]; !got.Equal(want) {
		return fmt.Errorf("jobgate presents the certificate %x, not %x", got.SerialNumber, want.SerialNumber)
	}
	return nil
}

// counts fails unless the metric has the value.
func (c keptJobgate) counts(ctx context.Context, name string, labels map[string]string, want float64) error {
	got, err := c.Metric(ctx, name, labels)
	if err == nil && got != want {
		err = fmt.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
	return err
}

// putInPlace renames a file over another, as certificate managers do.
func putInPlace(t *testing.T, path string, content []byte) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
