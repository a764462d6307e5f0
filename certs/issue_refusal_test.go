package certs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobgate/jobgate/certs"
)

func TestIssue_RefusesWhatNothingCouldBeIssuedFor(t *testing.T) {
	rows := []struct {
		name    string
		request certs.Request
		say     string
	}{
		{"host with a port", certs.Request{Hosts: []string{"jobgate:9443"}}, `"jobgate:9443"`},
		{"host with a blank", certs.Request{Hosts: []string{"a b"}}, `"a b"`},
		{"empty host", certs.Request{Hosts: []string{""}}, `""`},
		{"too many hosts", certs.Request{Hosts: slices.Repeat([]string{"a.example.com"}, 101)}, "at most 100"},
		{"client name too long", certs.Request{ClientName: strings.Repeat("a", 65)}, "1 to 64"},
		{"client name in blanks", certs.Request{ClientName: " a"}, "blanks"},
		{"lifetime too short", certs.Request{Lifetime: time.Second}, "1m0s at least"},
		{"lifetime negative", certs.Request{Lifetime: -time.Hour}, "1m0s at least"},
		{"lifetime with fractions", certs.Request{Lifetime: time.Hour + time.Millisecond}, "whole seconds"},
		{"CA too short for its certificates", certs.Request{Lifetime: year, CALifetime: year}, "twice as long"},
		{"CA without end", certs.Request{CALifetime: 51 * year}, "at most"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pki")
			for name, issue := range map[string]func(certs.Request) ([]certs.Change, error){
				"Issue": certs.OpenPKI(dir).Issue, "Plan": certs.OpenPKI(dir).Plan,
			} {
				if _, err := issue(row.request); !errors.Is(err, certs.ErrRequest) || !strings.Contains(err.Error(), row.say) {
					t.Errorf("%s: %v, want one that says %s", name, err, row.say)
				}
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the directory was made all the same: %v", err)
			}
		})
	}
}

func TestPKI_NamesTheFileThatCannotBeUsed(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(t *testing.T, p *certs.PKI)
		file  string
		say   string
		want  error
	}{
		{
			name: "CA's key is readable by the group", file: certs.SigningFile, say: "mode 0640", want: certs.ErrExposedKey,
			spoil: func(t *testing.T, p *certs.PKI) { chmod(t, p, certs.SigningFile, 0o640) },
		},
		{
			name: "next CA's key is readable by all", file: certs.NextSigningFile, say: "chmod 0600", want: certs.ErrExposedKey,
			spoil: func(t *testing.T, p *certs.PKI) {
				must[certs.Rotation](t)(p.RotateCA(nil))
				chmod(t, p, certs.NextSigningFile, 0o604)
			},
		},
		{
			name: "CA's key is missing", file: certs.SigningFile, say: "is missing", want: fs.ErrNotExist,
			spoil: func(t *testing.T, p *certs.PKI) { remove(t, p, certs.SigningFile) },
		},
		{
			name: "CA's key is garbled", file: certs.SigningFile, say: "read the CA",
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.SigningFile), []byte("garbled"))
			},
		},
		{
			name: "CA is none", file: certs.SigningFile, say: "not a CA's",
			spoil: func(t *testing.T, p *certs.PKI) {
				snap(t, p).restore(t, p, certs.ServingFile)
				replace(t, filepath.Join(p.Dir(), certs.SigningFile), read(t, filepath.Join(p.Dir(), certs.ClientFile)))
			},
		},
		{
			name: "time of a rotation is not a time", file: certs.SigningFile, say: "Rotation: ",
			spoil: func(t *testing.T, p *certs.PKI) {
				path := filepath.Join(p.Dir(), certs.SigningFile)
				replace(t, path, append([]byte(`Rotation: {"since": "yesterday"}`+"\n\n"), read(t, path)...))
			},
		},
		{
			name: "bundle is garbled", file: certs.CAFile, say: "read the CAs",
			spoil: func(t *testing.T, p *certs.PKI) { replace(t, filepath.Join(p.Dir(), certs.CAFile), []byte("garbled")) },
		},
		{
			name: "bundle is a directory", file: certs.CAFile, say: "not a regular file",
			spoil: func(t *testing.T, p *certs.PKI) {
				remove(t, p, certs.CAFile)
				if err := os.Mkdir(filepath.Join(p.Dir(), certs.CAFile), 0o700); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "bundle is a pipe that no one writes to", file: certs.CAFile, say: "not a regular file",
			spoil: func(t *testing.T, p *certs.PKI) {
				remove(t, p, certs.CAFile)
				if err := syscall.Mkfifo(filepath.Join(p.Dir(), certs.CAFile), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "client certificate is huge", file: certs.ClientFile, say: "too large",
			spoil: func(t *testing.T, p *certs.PKI) {
				replace(t, filepath.Join(p.Dir(), certs.ClientFile), make([]byte, 1<<20+1))
			},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := issued(t, certs.Request{})
			row.spoil(t, p)
			before := snapRegular(t, p)
			for name, operation := range map[string]func() error{
				// Another client, so that there is something to sign.
				"Issue":    func() error { _, err := p.Issue(certs.Request{ClientName: "other"}); return err },
				"Renew":    func() error { _, err := p.Renew(true); return err },
				"RotateCA": func() error { _, err := p.RotateCA(nil); return err },
			} {
				err := operation()
				if err == nil || !strings.Contains(err.Error(), filepath.Join(p.Dir(), row.file)) || !strings.Contains(err.Error(), row.say) ||
					(row.want != nil && !errors.Is(err, row.want)) {
					t.Errorf("%s: %v, want one that names %s and says %s", name, err, row.file, row.say)
				}
			}
			if !snapRegular(t, p).equal(before) {
				t.Error("something was written all the same")
			}
		})
	}
}

// snapRegular is a snapshot that leaves out what is no file.
func snapRegular(t *testing.T, p *certs.PKI) snapshot {
	t.Helper()
	s := snapshot{}
	for _, entry := range must[[]os.DirEntry](t)(os.ReadDir(p.Dir())) {
		if entry.Type().IsRegular() {
			s[entry.Name()] = string(read(t, filepath.Join(p.Dir(), entry.Name())))
		}
	}
	return s
}

// A clock that is reset at boot must not replace a good CA.
func TestPKI_DoesNothingBeforeItsCAIsValid(t *testing.T) {
	var later snapshot
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(year)
		later = snap(t, issued(t, certs.Request{}))
	})
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		later.restore(t, p, certs.CAFile, certs.SigningFile, certs.ServingFile, certs.ClientFile)
		if _, err := p.Renew(true); !errors.Is(err, certs.ErrClock) {
			t.Errorf("Renew: %v", err)
		}
		if _, err := p.RotateCA(nil); !errors.Is(err, certs.ErrClock) {
			t.Errorf("RotateCA: %v", err)
		}
		if _, err := p.Issue(certs.Request{}); !errors.Is(err, certs.ErrClock) {
			t.Errorf("Issue: %v", err)
		}
		if !snap(t, p).equal(later) {
			t.Error("something was written all the same")
		}
	})
}

func TestIssue_InterruptedAfterAnyWriteIsCarriedOn(t *testing.T) {
	r := certs.Request{Hosts: []string{"jobgate.example.com"}}
	const writes = 5
	for killed := range writes {
		p := certs.OpenPKI(filepath.Join(t.TempDir(), "pki"))
		for range killed {
			must[string](t)(p.StepIssue(r))
		}
		if made := must[[]certs.Change](t)(p.Issue(r)); len(made) != writes-killed {
			t.Errorf("killed after %d writes: %v remained", killed, made)
		}
		s := snap(t, p)
		if err := handshake(t, first(s.bothEnds(t)), second(s.bothEnds(t))); err != nil {
			t.Errorf("killed after %d writes: the two ends do not connect: %v", killed, err)
		}
	}
}
