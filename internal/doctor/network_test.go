package doctor_test

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/pkitest"
)

func TestRun_Network(t *testing.T) {
	named := func(s *setup, name string) {
		u, err := url.Parse(s.api.URL)
		if err != nil {
			s.t.Fatal(err)
		}
		at("https://" + net.JoinHostPort(name, u.Port()))(s)
	}
	rows := []row{
		{name: "an address", finding: "dns", state: doctor.OK, say: []string{"127.0.0.1 is an address"}},
		{name: "a name", arrange: func(s *setup) {
			s.options.Resolver = resolver{"example.com": {"127.0.0.1"}}
			named(s, "example.com")
		}, finding: "dns", state: doctor.OK, say: []string{"example.com is 127.0.0.1"}},
		{name: "an unknown name", arrange: func(s *setup) {
			s.options.Resolver = resolver{}
			named(s, "example.com")
		}, finding: "dns", state: doctor.Failure, say: []string{"no such host", "DNS"}},
		{name: "a name without addresses", arrange: func(s *setup) {
			s.options.Resolver = resolver{"example.com": nil}
			named(s, "example.com")
		}, finding: "dns", state: doctor.Failure, say: []string{"no addresses"}},
		{name: "an unknown name, and the rest", arrange: func(s *setup) {
			s.options.Resolver = resolver{}
			named(s, "example.com")
		}, finding: "identity", state: doctor.NotChecked, say: []string{"name cannot be looked up"}},
		{name: "the second of two addresses", arrange: func(s *setup) {
			s.options.Resolver = resolver{"example.com": {"127.0.0.2", "127.0.0.1"}}
			named(s, "example.com")
		}, finding: "tcp", state: doctor.OK, say: []string{"connected to 127.0.0.1:"}},
		{name: "no listener", arrange: (*setup).stopAPI, finding: "tcp", state: doctor.Failure,
			say: []string{"connection refused", "firewalls"}},
		{name: "no listener, and the rest", arrange: (*setup).stopAPI, finding: "tls", state: doctor.NotChecked,
			say: []string{"no connection"}},
		{name: "a good certificate", finding: "tls", state: doctor.OK, say: []string{"TLS 1.3", "valid until"}},
		{name: "a chain", arrange: withIntermediate, finding: "tls", state: doctor.OK},
		{name: "another CA", arrange: func(s *setup) {
			cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = otherCA(s.t) })(s)
		}, finding: "tls", state: doctor.Failure, say: []string{"signed by", "the CA that is given is a different one", "JOBGATE_CA_FILE"}},
		{name: "what follows another CA", arrange: func(s *setup) {
			cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = otherCA(s.t) })(s)
		}, finding: "identity", state: doctor.NotChecked, say: []string{"certificate is not trusted"}},
		{name: "the system's CAs", arrange: cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = nil }),
			finding: "tls", state: doctor.Failure,
			say: []string{"signed by", "no CA is given", "set JOBGATE_CA_FILE"}, not: []string{"a different one"}},
		{name: "another name", arrange: func(s *setup) {
			s.options.Resolver = resolver{"api.internal": {"127.0.0.1"}}
			named(s, "api.internal")
		}, finding: "tls", state: doctor.Failure, say: []string{`"example.com"`, `not for "api.internal"`}},
		{name: "another name, and the certificate's", arrange: func(s *setup) {
			s.options.Resolver = resolver{"api.internal": {"127.0.0.1"}}
			named(s, "api.internal")
			server := s.server()
			cluster(func(c *clientcmdapi.Cluster) { c.Server, c.TLSServerName = server, "example.com" })(s)
		}, finding: "tls", state: doctor.OK},
		{name: "a certificate that has expired", arrange: clock(100 * 365), finding: "tls", state: doctor.Failure,
			say: []string{"and not now", "clock"}},
		{name: "a certificate that expires soon", arrange: soon, finding: "tls", state: doctor.Warning,
			say: []string{"which is in 3 days"}},
		{name: "no TLS", arrange: func(s *setup) {
			plain := httptest.NewServer(http.NotFoundHandler())
			s.t.Cleanup(plain.Close)
			at(strings.Replace(plain.URL, "http:", "https:", 1))(s)
		}, finding: "tls", state: doctor.Failure, say: []string{"the TLS handshake failed"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// server is where the kubeconfig finds the API server.
func (s *setup) server() string {
	s.t.Helper()
	config, err := cijob.Load(s.vars["KUBECONFIG"])
	if err != nil {
		s.t.Fatal(err)
	}
	return config.Clusters["own"].Server
}

func TestDescribeCertificate(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rows := []struct {
		name       string
		life, left time.Duration
		want       doctor.State
	}{
		{name: "a year, half of it over", life: 365 * day, left: 180 * day, want: doctor.OK},
		{name: "a year, eight days left", life: 365 * day, left: 8 * day, want: doctor.OK},
		{name: "a year, six days left", life: 365 * day, left: 6 * day, want: doctor.Warning},
		{name: "a day, half of it over", life: day, left: 12 * time.Hour, want: doctor.OK},
		{name: "a day, an hour left", life: day, left: time.Hour, want: doctor.Warning},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			leaf := &x509.Certificate{NotBefore: now.Add(row.left - row.life), NotAfter: now.Add(row.left)}
			if got := doctor.DescribeCertificate(doctor.Finding{}, "TLS 1.3", leaf, now); got.State != row.want || (got.Do == "") != (row.want == doctor.OK) {
				t.Errorf("finding is %+v, want %s", got, row.want)
			}
		})
	}
}

// stopAPI leaves an address without a listener.
func (s *setup) stopAPI() { s.api.Close() }

func clock(days int) func(*setup) {
	return func(s *setup) { s.options.Now = func() time.Time { return time.Now().AddDate(0, 0, days) } }
}

// soon is three days before the certificate's end.
func soon(s *setup) {
	end := s.api.Certificate().NotAfter
	s.options.Now = func() time.Time { return end.Add(-73 * time.Hour) }
}

// withIntermediate has the API server show a certificate whose authority is itself signed by the one that is trusted.
func withIntermediate(s *setup) {
	s.t.Helper()
	root, err := pkitest.NewAuthority("root")
	if err != nil {
		s.t.Fatal(err)
	}
	intermediate, err := root.NewIntermediate("intermediate")
	if err != nil {
		s.t.Fatal(err)
	}
	if s.api.TLS.Certificates[0], err = intermediate.Server("kube-apiserver"); err != nil {
		s.t.Fatal(err)
	}
	cluster(func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = root.PEM() })(s)
}

func otherCA(t *testing.T) []byte {
	t.Helper()
	authority, err := pkitest.NewAuthority("other")
	if err != nil {
		t.Fatal(err)
	}
	return authority.PEM()
}

// The connection that checks the certificate carries no token, whatever server is at its other end.
func TestRun_ShowsNoTokenToAServerThatIsNotTrusted(t *testing.T) {
	s := newSetup(t)
	s.writeKubeconfig(func(c *clientcmdapi.Config) { c.Clusters["own"].CertificateAuthorityData = otherCA(t) })
	s.run()
	if len(s.api.seen) != 0 {
		t.Errorf("the server has heard %d requests", len(s.api.seen))
	}
}

// Through a proxy there is no handshake to look at beforehand; the real one does not trust just anybody either.
func TestRun_ThroughAProxyTrustsNobodyElse(t *testing.T) {
	s := newSetup(t)
	s.writeKubeconfig(func(c *clientcmdapi.Config) { c.Clusters["own"].CertificateAuthorityData = otherCA(t) })
	proxy := newProxy(t)
	s.options.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy) }
	f := finding(t, s.run(), "identity")
	if f.State != doctor.Failure || !strings.Contains(f.What, "certificate") {
		t.Errorf("identity is %s: %s", f.State, text(f))
	}
	s.writeKubeconfig(nil)
	if f := finding(t, s.run(), "identity"); f.State != doctor.OK {
		t.Errorf("identity is %s: %s", f.State, text(f))
	}
}

// newProxy is an HTTP proxy that tunnels (RFC 9110, section 9.3.6).
func newProxy(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		if _, err := from.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			copyUntilEnd(to, from)
		}()
		copyUntilEnd(from, to)
		from.Close()
		<-done
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func copyUntilEnd(to net.Conn, from net.Conn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	to.Close()
}
