package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/certs"
)

func TestIssue_NewPKI(t *testing.T) {
	p := issued(t, certs.Request{Hosts: []string{"Jobgate.example.com", "10.1.2.3", "fd00::1", "localhost"}})
	for file, want := range map[string]fs.FileMode{
		".": 0o711, certs.CAFile: 0o644, certs.SigningFile: 0o600, certs.ServingFile: 0o600, certs.ClientFile: 0o600,
	} {
		if got := modeOf(t, filepath.Join(p.Dir(), file)); got != want {
			t.Errorf("mode of %s is %04o, want %04o", file, got, want)
		}
	}
	s := snap(t, p)
	if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil {
		t.Errorf("the two ends do not connect: %v", err)
	}

	ca, serving, client := s.leaf(t, certs.SigningFile), s.leaf(t, certs.ServingFile), s.leaf(t, certs.ClientFile)
	if len(s.bundle(t)) != 1 || !s.bundle(t)[0].Equal(ca) {
		t.Error("the bundle is not the CA alone")
	}
	if !ca.IsCA || !ca.MaxPathLenZero || ca.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign || !strings.HasPrefix(ca.Subject.CommonName, "jobgate-ca-") {
		t.Errorf("the CA is %s, pathlen 0: %t, key usage %b", ca.Subject, ca.MaxPathLenZero, ca.KeyUsage)
	}
	rows := []struct {
		name     string
		leaf     *x509.Certificate
		lifetime time.Duration
		usage    []x509.ExtKeyUsage
		names    []string
	}{
		{name: "CA", leaf: ca, lifetime: 10 * year},
		{
			name: "serving", leaf: serving, lifetime: year, usage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			names: []string{"10.1.2.3", "127.0.0.1", "::1", "fd00::1", "jobgate.example.com", "localhost"},
		},
		{name: "client", leaf: client, lifetime: year, usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			names := slices.Clone(row.leaf.DNSNames)
			for _, ip := range row.leaf.IPAddresses {
				names = append(names, ip.String())
			}
			slices.Sort(names)
			if diff := cmp.Diff(row.names, names); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(row.usage, row.leaf.ExtKeyUsage); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
			if got := row.leaf.NotAfter.Sub(row.leaf.NotBefore); got != row.lifetime+certs.Backdate {
				t.Errorf("valid for %s, want %s and %s before", got, row.lifetime, certs.Backdate)
			}
			if key, ok := row.leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
				t.Errorf("key is %T", row.leaf.PublicKey)
			}
		})
	}
	if client.Subject.CommonName != "kube-apiserver" {
		t.Errorf("the API server's name is %q", client.Subject.CommonName)
	}
}

func first[T any](a, _ T) T  { return a }
func second[T any](_, b T) T { return b }

func TestIssue_SecondTimeChangesNothing(t *testing.T) {
	r := certs.Request{Hosts: []string{"jobgate.example.com", "10.1.2.3"}, Lifetime: day}
	p := issued(t, r)
	before := snap(t, p)
	if changes, err := p.Issue(r); err != nil || len(changes) > 0 {
		t.Errorf("changed %v, %v", changes, err)
	}
	if !snap(t, p).equal(before) {
		t.Error("files have changed")
	}
}

func TestPlan_SaysWhatIssueDoesAndWritesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "pki")
	p := certs.OpenPKI(dir)
	planned := must[[]certs.Change](t)(p.Plan(certs.Request{}))
	if _, err := os.Stat(filepath.Dir(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a plan has made a directory: %v", err)
	}
	made := must[[]certs.Change](t)(p.Issue(certs.Request{}))
	if diff := cmp.Diff(planned, made); diff != "" || len(made) != 5 {
		t.Errorf("planned (-) and made (+):\n%s%v", diff, made)
	}

	other := certs.Request{ClientName: "other"}
	before := snap(t, p)
	planned = must[[]certs.Change](t)(p.Plan(other))
	if !snap(t, p).equal(before) {
		t.Error("a plan has written")
	}
	if diff := cmp.Diff(planned, must[[]certs.Change](t)(p.Issue(other))); diff != "" || len(planned) != 1 {
		t.Errorf("planned (-) and made (+):\n%s%v", diff, planned)
	}
}

func TestIssue_ReissuesWhatDoesNotFit(t *testing.T) {
	standing := certs.Request{Hosts: []string{"a.example.com"}, Lifetime: 90 * day}
	rows := []struct {
		name    string
		request certs.Request
		spoil   func(t *testing.T, p *certs.PKI)
		want    []string // files
		why     string
	}{
		{name: "another host", request: certs.Request{Hosts: []string{"b.example.com"}}, want: []string{certs.ServingFile}, why: "not for"},
		{name: "one host less", request: certs.Request{}, want: []string{certs.ServingFile}, why: "not for"},
		{
			name: "another client", request: certs.Request{Hosts: standing.Hosts, ClientName: "front-proxy"},
			want: []string{certs.ClientFile}, why: "front-proxy",
		},
		{
			name: "another lifetime", request: certs.Request{Hosts: standing.Hosts, Lifetime: 30 * day},
			want: []string{certs.ServingFile, certs.ClientFile}, why: "not 720h",
		},
		{name: "no lifetime asked for", request: certs.Request{Hosts: standing.Hosts}},
		{name: "another CA lifetime", request: certs.Request{Hosts: standing.Hosts, CALifetime: 5 * year}},
		{
			name: "a third of life left", request: standing, spoil: func(*testing.T, *certs.PKI) { time.Sleep(61 * day) },
			want: []string{certs.ServingFile, certs.ClientFile}, why: "it expires on",
		},
		{
			name: "serving certificate missing", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) { remove(t, p, certs.ServingFile) }, want: []string{certs.ServingFile}, why: "missing",
		},
		{
			name: "client certificate garbled", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ClientFile), []byte("garbled"))
			},
			want: []string{certs.ClientFile}, why: "cannot be used",
		},
		{
			name: "serving certificate in the client's place", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ClientFile), read(t, filepath.Join(p.Dir(), certs.ServingFile)))
			},
			want: []string{certs.ClientFile}, why: "it is for",
		},
		{
			name: "serving certificate of another CA", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ServingFile), read(t, filepath.Join(issued(t, standing).Dir(), certs.ServingFile)))
			},
			want: []string{certs.ServingFile}, why: "not this PKI's CA",
		},
		{
			name: "bundle missing", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) { remove(t, p, certs.CAFile) }, want: []string{certs.CAFile}, why: "missing",
		},
		{
			name: "bundle of another PKI", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.CAFile), read(t, filepath.Join(issued(t, standing).Dir(), certs.CAFile)))
			},
			want: []string{certs.CAFile}, why: "is not in it",
		},
		{
			name: "CA's key kept elsewhere, all fits", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) { remove(t, p, certs.SigningFile) },
		},
		{
			name: "key readable by all", request: standing,
			spoil: func(t *testing.T, p *certs.PKI) { chmod(t, p, certs.ServingFile, 0o644) },
			want:  []string{certs.ServingFile}, why: "mode 0644",
		},
		{
			name: "CA expired", request: standing, spoil: func(*testing.T, *certs.PKI) { time.Sleep(10*year + day) },
			want: []string{certs.SigningFile, certs.CAFile, certs.ServingFile, certs.ClientFile, certs.CAFile}, why: "expired on",
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, standing)
				if row.spoil != nil {
					row.spoil(t, p)
				}
				var files []string
				changes := must[[]certs.Change](t)(p.Issue(row.request))
				for _, c := range changes {
					files = append(files, c.File)
				}
				if diff := cmp.Diff(row.want, files); diff != "" {
					t.Fatalf("changed files (-want +got):\n%s", diff)
				}
				if len(changes) > 0 && !strings.Contains(changes[0].Why, row.why) {
					t.Errorf("because %s", changes[0].Why)
				}
				s := snap(t, p)
				if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil {
					t.Errorf("the two ends do not connect: %v", err)
				}
				if again := must[[]certs.Change](t)(p.Issue(row.request)); len(again) > 0 {
					t.Errorf("the second time: %v", again)
				}
			})
		})
	}
}

func remove(t *testing.T, p *certs.PKI, file string) {
	t.Helper()
	if err := os.Remove(filepath.Join(p.Dir(), file)); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, p *certs.PKI, file string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(p.Dir(), file), mode); err != nil {
		t.Fatal(err)
	}
}
