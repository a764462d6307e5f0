package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/pkitest"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// issued is a PKI as jobgate init makes it.
func issued(t *testing.T, r certs.Request) *certs.PKI {
	t.Helper()
	p := certs.OpenPKI(filepath.Join(t.TempDir(), "pki"))
	must[[]certs.Change](t)(p.Issue(r))
	return p
}

// snapshot is the content of every file in the PKI.
type snapshot map[string]string

func snap(t *testing.T, p *certs.PKI) snapshot {
	t.Helper()
	s := snapshot{}
	for _, entry := range must[[]os.DirEntry](t)(os.ReadDir(p.Dir())) {
		s[entry.Name()] = string(read(t, filepath.Join(p.Dir(), entry.Name())))
	}
	return s
}

// restore has the PKI say what it said at a snapshot.
func (s snapshot) restore(t *testing.T, p *certs.PKI, files ...string) {
	t.Helper()
	for _, file := range files {
		replace(t, filepath.Join(p.Dir(), file), []byte(s[file]))
	}
}

func (s snapshot) equal(other snapshot) bool { return maps.Equal(s, other) }

func (s snapshot) bundle(t *testing.T) []*x509.Certificate {
	t.Helper()
	return must[[]*x509.Certificate](t)(cert.ParseCertsPEM([]byte(s[certs.CAFile])))
}

func (s snapshot) pair(t *testing.T, file string) tls.Certificate {
	t.Helper()
	return must[tls.Certificate](t)(tls.X509KeyPair([]byte(s[file]), []byte(s[file])))
}

func (s snapshot) leaf(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	return s.pair(t, file).Leaf
}

func pool(bundle []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range bundle {
		pool.AddCert(c)
	}
	return pool
}

// end is what one end of a connection has loaded, maybe at different moments.
type end struct {
	certificate tls.Certificate
	trusts      []*x509.Certificate
}

// handshake is a connection of an API server to a jobgate, over memory.
func handshake(t *testing.T, apiServer, jobgate end) error {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	server := tls.Server(far, &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert,
		Certificates: []tls.Certificate{jobgate.certificate}, ClientCAs: pool(jobgate.trusts),
	})
	served := make(chan error, 1)
	go func() {
		defer far.Close()
		err := server.HandshakeContext(t.Context())
		if err == nil {
			_, err = server.Write([]byte{1})
		}
		served <- err
	}()
	client := tls.Client(near, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1",
		Certificates: []tls.Certificate{apiServer.certificate}, RootCAs: pool(apiServer.trusts),
	})
	_, err := client.Read(make([]byte, 1)) // in TLS 1.3 a server's refusal comes after the client's handshake
	near.Close()
	<-served
	return err
}

// bothEnds are an API server and a jobgate that have loaded everything at one moment.
func (s snapshot) bothEnds(t *testing.T) (apiServer, jobgate end) {
	t.Helper()
	return end{s.pair(t, certs.ClientFile), s.bundle(t)}, end{s.pair(t, certs.ServingFile), s.bundle(t)}
}

// foreignPair is a serving certificate of another issuer, in one file.
func foreignPair(t *testing.T) []byte {
	t.Helper()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("corporate-ca"))
	files := must[pkitest.Files](t)(authority.IssueServer(t.TempDir(), "corporate"))
	return append(read(t, files.Cert), read(t, files.Key)...)
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	return must[fs.FileInfo](t)(os.Stat(path)).Mode().Perm()
}
