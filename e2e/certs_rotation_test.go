package e2e_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/certs"
)

// The CA is replaced under load. An administrator starts it; jobgate goes on by itself. A client that reads its files within
// the overlap is not refused once. At the end no one accepts what the old CA signed, and connections from before are closed.
func TestCerts_CARotatedUnderLoad(t *testing.T) {
	t.Parallel() // it waits for the clock, and has a jobgate to itself
	// Jobgate looks every two seconds, 60 times in the life of a certificate.
	c := startKept(t, "jobgate-rotating", certs.Request{Lifetime: 2 * time.Minute, CALifetime: time.Hour})
	old, err := c.tls()
	if err != nil {
		t.Fatal(err)
	}
	oldServing := c.leaf(t, certs.ServingFile)
	overlap := 8 * time.Second
	stages := map[certs.Stage]bool{}
	finished := time.Time{}
	thief, err := c.lasting()
	if err == nil {
		err = thief(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	rotating := false
	sent := c.load(t, true, every(100*time.Millisecond, func(elapsed time.Duration) bool {
		if elapsed < time.Second {
			return true
		}
		if !rotating {
			rotating = true
			if _, err := c.pki.RotateCA(&overlap); err != nil {
				t.Error(err)
				return false
			}
		}
		r, err := c.pki.Rotation()
		if err != nil {
			t.Error(err)
			return false
		}
		stages[r.Stage] = true
		if r.Stage != certs.Idle {
			return elapsed < patience
		}
		if finished.IsZero() {
			finished = time.Now()
		}
		return time.Since(finished) < overlap // to ask with the new CA alone
	}))
	t.Logf("%d reviews", sent)
	if !stages[certs.Announced] || !stages[certs.TakenOver] || finished.IsZero() {
		t.Errorf("the rotation has been seen in the stages %v", stages)
	}

	if time.Now().After(old.Certificates[0].Leaf.NotAfter) || time.Now().After(oldServing.NotAfter) {
		t.Fatal("the old certificates have expired: what follows would show nothing")
	}
	if err := thief(t.Context()); err == nil {
		t.Error("a connection that began with the old client certificate is still answered")
	}
	now, err := c.tls()
	if err != nil {
		t.Fatal(err)
	}
	if err := now.Certificates[0].Leaf.CheckSignatureFrom(c.leaf(t, certs.SigningFile)); err != nil {
		t.Errorf("the client certificate is not the new CA's: %v", err)
	}
	now.Certificates = old.Certificates
	c.wantRefused(t, now)
	var unknown *tls.CertificateVerificationError
	if err := c.review(t.Context(), clientWith(old)); !errors.As(err, &unknown) {
		t.Errorf("an API server that trusts the old CA alone: %v, want one about jobgate's certificate", err)
	}
	if lines := logLines(t, c.Jobgate, "CA is being rotated"); len(lines) < 2 {
		t.Errorf("the log says of the rotation: %q", lines)
	}
}

// wantRefused fails unless jobgate breaks off a handshake.
func (c keptJobgate) wantRefused(t *testing.T, configuration *tls.Config) {
	t.Helper()
	connection, err := tls.Dial("tcp", strings.TrimPrefix(c.URL, "https://"), configuration)
	if err == nil {
		defer connection.Close()
		// In TLS 1.3 a client sees a refusal when it reads. A client that is accepted and asks nothing sees no alert.
		_, err = connection.Read(make([]byte, 1))
	}
	var refusal *net.OpError // of crypto/tls, for an alert of the other end
	if !errors.As(err, &refusal) || refusal.Op != "remote error" {
		t.Errorf("the connection ended with %v, want a refusal by jobgate", err)
	}
}

// Who may connect to the process as it is deployed. The token is a good one throughout.
func TestCerts_WhoMayConnect(t *testing.T) {
	c := startKept(t, "jobgate-choosy", certs.Request{})
	strangers := certs.OpenPKI(filepath.Join(t.TempDir(), "strangers"))
	others := otherName(t, c.pki)
	if _, err := strangers.Issue(certs.Request{}); err != nil {
		t.Fatal(err)
	}
	presenting := func(p *certs.PKI) func(*tls.Config) {
		return func(configuration *tls.Config) {
			file := filepath.Join(p.Dir(), certs.ClientFile)
			pair, err := tls.LoadX509KeyPair(file, file)
			if err != nil {
				t.Fatal(err)
			}
			configuration.Certificates = []tls.Certificate{pair}
		}
	}
	rows := []struct {
		name     string
		change   func(*tls.Config)
		accepted bool
	}{
		{name: "the API server", change: func(*tls.Config) {}, accepted: true},
		{name: "the API server, with TLS 1.2", accepted: true, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{name: "TLS 1.1", change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }},
		{name: "no certificate", change: func(c *tls.Config) { c.Certificates = nil }},
		{name: "a certificate of another CA", change: presenting(strangers)},
		{name: "a certificate of this CA for another name", change: presenting(others)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			configuration, err := c.tls()
			if err != nil {
				t.Fatal(err)
			}
			row.change(configuration)
			if !row.accepted {
				c.wantRefused(t, configuration)
				return
			}
			client := clientWith(configuration)
			defer client.CloseIdleConnections()
			if err := c.review(t.Context(), client); err != nil {
				t.Errorf("refused: %v", err)
			}
		})
	}
	t.Run("plain HTTP", func(t *testing.T) {
		before := c.answers(t)
		response, err := http.Post(strings.Replace(c.URL, "https:", "http:", 1)+"/authenticate", "application/json", strings.NewReader("{}"))
		if err == nil {
			response.Body.Close()
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("answered %s", response.Status)
			}
		}
		if after := c.answers(t); after != before {
			t.Errorf("jobgate counts a request: %v, before %v", after, before)
		}
	})
}

// otherName is a PKI with the same CA, whose client certificate has another name.
func otherName(t *testing.T, p *certs.PKI) *certs.PKI {
	t.Helper()
	other := certs.OpenPKI(t.TempDir())
	for _, file := range []string{certs.CAFile, certs.SigningFile} {
		putInPlace(t, filepath.Join(other.Dir(), file), contentOf(t, filepath.Join(p.Dir(), file)))
	}
	if _, err := other.Issue(certs.Request{ClientName: "another-client"}); err != nil {
		t.Fatal(err)
	}
	return other
}
