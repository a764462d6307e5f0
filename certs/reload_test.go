package certs_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/pkitest"
)

const reloads = "jobgate_certificate_reloads_total"

// onDisk are the files of a server with a client CA, and what is in them at first.
type onDisk struct {
	certs.Files
	authority *pkitest.Authority
	config    *tls.Config // of a client that may connect
}

func newOnDisk(t *testing.T) onDisk {
	t.Helper()
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	server := must[pkitest.Files](t)(authority.IssueServer(dir, "first"))
	client := must[pkitest.Files](t)(authority.IssueClient(dir, "client"))
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(client.Cert, client.Key))
	return onDisk{
		Files: certs.Files{
			Certificate: server.Cert, Key: server.Key, ClientCA: must[string](t)(authority.WriteCertificate(dir, "client-ca")),
		},
		authority: authority,
		config:    &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{pair}},
	}
}

func TestServing_BrokenFilesAreCountedOnceAndTheOldOnesServe(t *testing.T) {
	text := func(s string) func(*testing.T, onDisk) []byte {
		return func(*testing.T, onDisk) []byte { return []byte(s) }
	}
	certificate := func(d onDisk) string { return d.Certificate }
	key := func(d onDisk) string { return d.Key }
	clientCA := func(d onDisk) string { return d.ClientCA }
	rows := []struct {
		name    string
		file    func(onDisk) string
		content func(*testing.T, onDisk) []byte
		use     string
	}{
		{name: "certificate is text", file: certificate, content: text("broken"), use: "serving"},
		{name: "certificate is empty", file: certificate, content: text(""), use: "serving"},
		{name: "certificate is half written", file: certificate, use: "serving", content: func(t *testing.T, d onDisk) []byte {
			return read(t, d.Certificate)[:100]
		}},
		{name: "certificate of another key", file: certificate, use: "serving", content: func(t *testing.T, d onDisk) []byte {
			return read(t, must[pkitest.Files](t)(d.authority.IssueServer(t.TempDir(), "other")).Cert)
		}},
		{name: "key is text", file: key, content: text("broken"), use: "serving"},
		{name: "client CA is text", file: clientCA, content: text("broken"), use: "client_ca"},
		{name: "client CA is empty", file: clientCA, content: text(""), use: "client_ca"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d, metrics := newOnDisk(t), prometheus.NewPedanticRegistry()
			address := serve(t, d.Files, metrics)
			file := row.file(d)
			good := read(t, file)
			broken := row.content(t, d)
			replace(t, file, broken)
			eventually.True(t, "the broken file is counted", func() bool { return metric(t, metrics, reloads, "refused", row.use) == 1 })
			if name, err := connect(address, d.config); name != "first" {
				t.Errorf("served %q, %v", name, err)
			}
			// The same broken content once more counts no second time. A change of the other use shows that this was looked at.
			replace(t, file, broken)
			other, otherUse := d.ClientCA, "client_ca"
			if row.use == otherUse {
				other, otherUse = d.Certificate, "serving"
			}
			intact := read(t, other)
			replace(t, other, []byte("broken, too"))
			eventually.True(t, "the other broken file is counted", func() bool { return metric(t, metrics, reloads, "refused", otherUse) == 1 })
			if got := metric(t, metrics, reloads, "refused", row.use); got != 1 {
				t.Errorf("counted %v times", got)
			}

			replace(t, other, intact)
			replace(t, file, good)
			if name, err := connect(address, d.config); name != "first" {
				t.Errorf("with good files again, served %q, %v", name, err)
			}
			if got := metric(t, metrics, reloads, "applied", row.use); got != 0 {
				t.Errorf("what was in use all the time has been applied %v times", got)
			}
		})
	}
}

func TestServing_MissingFileIsRefused(t *testing.T) {
	d, metrics := newOnDisk(t), prometheus.NewPedanticRegistry()
	address := serve(t, d.Files, metrics)
	if err := os.Rename(d.ClientCA, filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the missing file is counted", func() bool { return metric(t, metrics, reloads, "refused", "client_ca") == 1 })
	if name, err := connect(address, d.config); name != "first" {
		t.Errorf("served %q, %v", name, err)
	}
}

func TestServing_NewFilesAreCounted(t *testing.T) {
	d, metrics := newOnDisk(t), prometheus.NewPedanticRegistry()
	address := serve(t, d.Files, metrics)
	second := must[pkitest.Files](t)(d.authority.IssueServer(t.TempDir(), "second"))
	replace(t, d.Certificate, read(t, second.Cert))
	replace(t, d.Key, read(t, second.Key))
	eventually.True(t, "the new pair is served", func() bool { name, _ := connect(address, d.config); return name == "second" })
	eventually.True(t, "and counted", func() bool { return metric(t, metrics, reloads, "applied", "serving") == 1 })
	if got := metric(t, metrics, reloads, "refused", "serving"); got != 0 {
		t.Errorf("a pair that was replaced one after the other was refused %v times", got)
	}
}

// A Secret's files are links into a folder that is itself a link, and that link is what is replaced.
func TestServing_SecretThatIsSwapped(t *testing.T) {
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	publish := func(version string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		pair := must[pkitest.Files](t)(authority.IssueServer(t.TempDir(), version))
		replace(t, filepath.Join(dir, version, "tls.crt"), read(t, pair.Cert))
		replace(t, filepath.Join(dir, version, "tls.key"), read(t, pair.Key))
		link(t, version, filepath.Join(dir, "..data"))
	}
	publish("first")
	files := certs.Files{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	link(t, "..data/tls.crt", files.Certificate)
	link(t, "..data/tls.key", files.Key)

	metrics := prometheus.NewPedanticRegistry()
	address := serve(t, files, metrics)
	config := &tls.Config{RootCAs: authority.Pool(), ServerName: "localhost"}
	if name, err := connect(address, config); name != "first" {
		t.Fatalf("served %q, %v", name, err)
	}
	publish("second")
	if err := os.RemoveAll(filepath.Join(dir, "first")); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the second certificate is served", func() bool { name, _ := connect(address, config); return name == "second" })
	eventually.True(t, "and counted", func() bool { return metric(t, metrics, reloads, "applied", "serving") == 1 })
}

// link makes a symbolic link, or replaces one.
func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
}
