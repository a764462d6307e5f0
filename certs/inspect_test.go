package certs_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// troubles are the problems by file name; a file without any is there with none.
func troubles(all []certs.Inspection) map[string]string {
	found := map[string]string{}
	for _, i := range all {
		found[filepath.Base(i.File)] += strings.Join(i.Problems, "; ")
	}
	return found
}

// wantTroubles fails unless exactly the files have problems, which say the words.
func wantTroubles(t *testing.T, all []certs.Inspection, want map[string]string) {
	t.Helper()
	for file, problems := range troubles(all) {
		if words, expected := want[file]; expected != (problems != "") || !strings.Contains(problems, words) {
			t.Errorf("problems of %s are %q, want %q", file, problems, words)
		}
		delete(want, file)
	}
	for file := range want {
		t.Errorf("nothing is said of %s", file)
	}
}

func TestInspect_PKI(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(t *testing.T, p *certs.PKI)
		warn  time.Duration
		want  map[string]string
	}{
		{name: "all is well"},
		{name: "rotation under way", spoil: func(t *testing.T, p *certs.PKI) { must[certs.Rotation](t)(p.RotateCA(nil)) }},
		{
			name: "two thirds of life are over, so a renewal is due", spoil: func(*testing.T, *certs.PKI) { time.Sleep(250 * day) },
		},
		{
			name: "month before the end", spoil: func(*testing.T, *certs.PKI) { time.Sleep(336 * day) },
			want: map[string]string{certs.ServingFile: "expires soon", certs.ClientFile: "expires soon"},
		},
		{
			name: "warned early", warn: year,
			spoil: func(*testing.T, *certs.PKI) { time.Sleep(time.Minute) },
			want:  map[string]string{certs.ServingFile: "expires soon", certs.ClientFile: "expires soon"},
		},
		{
			name: "expired", spoil: func(*testing.T, *certs.PKI) { time.Sleep(366 * day) },
			want: map[string]string{certs.ServingFile: "expired", certs.ClientFile: "expired"},
		},
		{
			name: "CA expired", spoil: func(*testing.T, *certs.PKI) { time.Sleep(11 * year) },
			want: map[string]string{certs.CAFile: "expired", certs.SigningFile: "expired", certs.ServingFile: "expired", certs.ClientFile: "expired"},
		},
		{
			name: "missing", spoil: func(t *testing.T, p *certs.PKI) { remove(t, p, certs.ClientFile) },
			want: map[string]string{certs.ClientFile: "no such file"},
		},
		{
			name: "garbled", spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ServingFile), []byte("garbled"))
			},
			want: map[string]string{certs.ServingFile: "PEM"},
		},
		{
			name: "key is missing", spoil: func(t *testing.T, p *certs.PKI) {
				text, _, _ := strings.Cut(snap(t, p)[certs.ServingFile], "-----BEGIN EC")
				replace(t, filepath.Join(p.Dir(), certs.ServingFile), []byte(text))
			},
			want: map[string]string{certs.ServingFile: "certificate and key"},
		},
		{
			name: "of another issuer", spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ServingFile), foreignPair(t))
			},
			want: map[string]string{certs.ServingFile: "does not verify"},
		},
		{
			name: "for the other use", spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ClientFile), read(t, filepath.Join(p.Dir(), certs.ServingFile)))
			},
			want: map[string]string{certs.ClientFile: "does not verify"},
		},
		{
			name: "keys readable by others", spoil: func(t *testing.T, p *certs.PKI) {
				chmod(t, p, certs.SigningFile, 0o640)
				chmod(t, p, certs.ClientFile, 0o644)
				chmod(t, p, certs.ServingFile, 0o640) // which is fine
			},
			want: map[string]string{
				certs.SigningFile: "its group may read it (mode 0640); run chmod 0600",
				certs.ClientFile:  "every user may read it (mode 0644); run chmod 0640",
			},
		},
		{
			name: "directory for all", spoil: func(t *testing.T, p *certs.PKI) { chmod(t, p, ".", 0o777) },
			want: map[string]string{"pki": "every user may change it (mode 0777); run chmod 0755"},
		},
		{
			name: "bundle that others may change", spoil: func(t *testing.T, p *certs.PKI) { chmod(t, p, certs.CAFile, 0o666) },
			want: map[string]string{certs.CAFile: "every user may change it (mode 0666); run chmod 0644"},
		},
		{
			name: "bundle without the CA", spoil: func(t *testing.T, p *certs.PKI) {
				snap(t, issued(t, certs.Request{})).restore(t, p, certs.CAFile)
			},
			want: map[string]string{certs.SigningFile: "does not verify", certs.ServingFile: "does not verify", certs.ClientFile: "does not verify"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{Hosts: []string{"jobgate.example.com"}})
				if row.spoil != nil {
					row.spoil(t, p)
				}
				before := snap(t, p)
				wantTroubles(t, p.Inspect(row.warn), row.want)
				if !snap(t, p).equal(before) {
					t.Error("Inspect wrote something")
				}
			})
		})
	}
}

func TestInspect_SaysWhatACertificateIsFor(t *testing.T) {
	p := issued(t, certs.Request{Hosts: []string{"jobgate.example.com"}})
	leaf := snap(t, p).leaf(t, certs.ServingFile)
	for _, i := range p.Inspect(0) {
		if filepath.Base(i.File) != certs.ServingFile {
			continue
		}
		if !slices.Contains(i.Names, "jobgate.example.com") || !slices.Contains(i.Names, "127.0.0.1") || i.Subject != "CN=jobgate" ||
			i.Issuer != leaf.Issuer.String() || i.CA || !i.Expires.Equal(leaf.NotAfter) || !i.NotBefore.Equal(leaf.NotBefore) {
			t.Errorf("%+v", i)
		}
		return
	}
	t.Error("nothing is said of the serving certificate")
}

func TestInspectFiles(t *testing.T) {
	dir := t.TempDir()
	authority := must[*pkitest.Authority](t)(pkitest.NewAuthority("ca"))
	stranger := must[*pkitest.Authority](t)(pkitest.NewAuthority("stranger"))
	ca := must[string](t)(authority.WriteCertificate(dir, "ca"))
	other := must[string](t)(stranger.WriteCertificate(dir, "other-ca"))
	server := must[pkitest.Files](t)(authority.IssueServer(dir, "server"))
	client := must[pkitest.Files](t)(authority.IssueClient(dir, "client"))
	text, openKey := filepath.Join(dir, "text"), filepath.Join(dir, "open.key")
	if err := errors.Join(
		os.WriteFile(text, []byte("no PEM"), 0o600),
		os.WriteFile(openKey, read(t, server.Key), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name   string
		files  []string
		bundle string
		warn   time.Duration
		want   map[string]string
	}{
		{name: "key for all", files: []string{server.Cert, openKey}, want: map[string]string{"open.key": "every user may read it (mode 0644); run chmod 0640"}},
		{name: "certificate alone, of an issuer that is not here", files: []string{server.Cert}},
		{name: "certificate and key", files: []string{server.Cert, server.Key}},
		{name: "with the CA", files: []string{ca, server.Cert, server.Key}},
		{name: "against the CA", files: []string{server.Cert}, bundle: ca},
		{name: "against another CA", files: []string{server.Cert}, bundle: other, want: map[string]string{"server.crt": "does not verify"}},
		{name: "with another CA", files: []string{server.Cert, other}, want: map[string]string{"server.crt": "does not verify"}},
		{name: "key of another certificate", files: []string{server.Cert, client.Key}, want: map[string]string{"client.key": "fits no certificate"}},
		{name: "key alone", files: []string{client.Key}, want: map[string]string{"client.key": "fits no certificate"}},
		{name: "expires soon", files: []string{server.Cert}, warn: 30 * day, want: map[string]string{"server.crt": "expires soon"}},
		{name: "text", files: []string{text, server.Cert}, want: map[string]string{"text": "PEM"}},
		{name: "missing", files: []string{filepath.Join(dir, "missing")}, want: map[string]string{"missing": "no such file"}},
		{name: "CA missing", files: []string{server.Cert}, bundle: filepath.Join(dir, "missing"), want: map[string]string{"missing": "as the CA"}},
		{name: "CA is text", files: []string{server.Cert}, bundle: text, want: map[string]string{"text": "as the CA"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			wantTroubles(t, certs.InspectFiles(row.files, row.bundle, row.warn), row.want)
		})
	}
}
