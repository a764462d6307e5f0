package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/pkitest"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// serve accepts TLS connections with the files' latest content, and answers each with one byte.
func serve(t *testing.T, f certs.Files, r prometheus.Registerer) (address string) {
	t.Helper()
	s := must[*certs.Serving](t)(certs.LoadServing(f, r))
	listener := must[net.Listener](t)(tls.Listen("tcp", "127.0.0.1:0", s.TLSConfig()))
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte{1}) // also does the handshake; a failed one is the client's to report
			c.Close()
		}
	})
	t.Cleanup(func() { stop(); listener.Close(); running.Wait() })
	return listener.Addr().String()
}

// connect returns the name of the server's certificate once a byte has come through.
func connect(address string, config *tls.Config) (string, error) {
	c, err := tls.Dial("tcp", address, config)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// replace renames a file over another, as certificate managers do.
func replace(t *testing.T, path string, content []byte) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	return must[[]byte](t)(os.ReadFile(path))
}

func TestServing_NewCertificateIsServedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	files := must[pkitest.Files](t)(authority.IssueServer(dir, "first"))
	second := must[pkitest.Files](t)(authority.IssueServer(dir, "second"))
	address := serve(t, certs.Files{Certificate: files.Cert, Key: files.Key}, nil)
	config := &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"}
	if name, err := connect(address, config); name != "first" {
		t.Fatalf("served %q, %v", name, err)
	}
	// The certificate alone does not fit the key: the old pair goes on serving until both are there.
	replace(t, files.Cert, read(t, second.Cert))
	if name, err := connect(address, config); name != "first" {
		t.Fatalf("with half of a new pair, served %q, %v", name, err)
	}
	replace(t, files.Key, read(t, second.Key))
	eventually.True(t, "the second certificate is served", func() bool { name, _ := connect(address, config); return name == "second" })

	replace(t, files.Cert, []byte("broken"))
	if name, err := connect(address, config); name != "second" {
		t.Errorf("with a broken file, served %q, %v", name, err)
	}
}

func TestServing_ClientCAIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	first := must[*pkitest.Authority](t)(pkitest.NewAuthority("first-ca"))
	second := must[*pkitest.Authority](t)(pkitest.NewAuthority("second-ca"))
	server := must[pkitest.Files](t)(first.IssueServer(dir, "server"))
	bundle := must[string](t)(first.WriteCertificate(dir, "client-ca"))
	client := must[pkitest.Files](t)(second.IssueClient(dir, "client"))
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(client.Cert, client.Key))
	config := &tls.Config{RootCAs: first.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{pair}}

	address := serve(t, certs.Files{Certificate: server.Cert, Key: server.Key, ClientCA: bundle}, nil)
	if _, err := connect(address, config); err == nil {
		t.Fatal("a client of an unknown authority was let in")
	}
	other := must[string](t)(second.WriteCertificate(dir, "second"))
	replace(t, bundle, append(read(t, bundle), read(t, other)...))
	eventually.True(t, "a client of the added authority is let in", func() bool { _, err := connect(address, config); return err == nil })
}

func TestLoadServing_NamesTheFileThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	good := must[pkitest.Files](t)(authority.IssueServer(dir, "good"))
	other := must[pkitest.Files](t)(authority.IssueServer(dir, "other"))
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	rows := []struct {
		name  string
		files certs.Files
		file  string
		want  error
	}{
		{name: "certificate missing", files: certs.Files{Certificate: missing, Key: good.Key}, file: missing, want: os.ErrNotExist},
		{name: "key missing", files: certs.Files{Certificate: good.Cert, Key: missing}, file: missing, want: os.ErrNotExist},
		{name: "certificate is text", files: certs.Files{Certificate: text, Key: good.Key}, file: text},
		{name: "key of another certificate", files: certs.Files{Certificate: good.Cert, Key: other.Key}, file: other.Key},
		{name: "client CA missing", files: certs.Files{Certificate: good.Cert, Key: good.Key, ClientCA: missing}, file: missing, want: os.ErrNotExist},
		{name: "client CA is text", files: certs.Files{Certificate: good.Cert, Key: good.Key, ClientCA: text}, file: text},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := certs.LoadServing(row.files, nil)
			if err == nil || !strings.Contains(err.Error(), row.file) || (row.want != nil && !errors.Is(err, row.want)) {
				t.Errorf("error is %v, want one that names %s", err, row.file)
			}
		})
	}
}

func TestServing_ExpiryIsAMetric(t *testing.T) {
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	server := must[pkitest.Files](t)(authority.IssueServer(dir, "server"))
	bundle := must[string](t)(authority.WriteCertificate(dir, "client-ca"))
	metrics := prometheus.NewPedanticRegistry()
	serve(t, certs.Files{Certificate: server.Cert, Key: server.Key, ClientCA: bundle}, metrics)

	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(server.Cert, server.Key))
	leaf := must[*x509.Certificate](t)(x509.ParseCertificate(pair.Certificate[0]))
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	if got["serving"] != float64(leaf.NotAfter.Unix()) || got["client_ca"] == 0 {
		t.Errorf("expiries are %v, want the serving certificate's %d and the CA's", got, leaf.NotAfter.Unix())
	}
}
