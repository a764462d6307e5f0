package certs_test

import (
	"crypto/ecdsa"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/certs"
)

// renewed are the files that were renewed.
func renewed(renewals []certs.Renewal) (files []string) {
	for _, r := range renewals {
		if r.Renewed {
			files = append(files, r.File)
		}
	}
	return files
}

var both = []string{certs.ServingFile, certs.ClientFile}

func TestRenew_WhenAThirdOfLifeIsLeft(t *testing.T) {
	rows := []struct {
		name     string
		lifetime time.Duration
		age      time.Duration
		force    bool
		want     []string
	}{
		{name: "new", lifetime: 90 * day},
		{name: "new, forced", lifetime: 90 * day, force: true, want: both},
		{name: "just before two thirds", lifetime: 90 * day, age: 60*day - time.Second},
		{name: "at two thirds", lifetime: 90 * day, age: 60 * day, want: both},
		{name: "expired", lifetime: 90 * day, age: 91 * day, want: both},
		{name: "one minute, just before two thirds", lifetime: time.Minute, age: 39 * time.Second},
		{name: "one minute, at two thirds", lifetime: time.Minute, age: 40 * time.Second, want: both},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := issued(t, certs.Request{Lifetime: row.lifetime})
				before := snap(t, p)
				time.Sleep(row.age)
				got := must[[]certs.Renewal](t)(p.Renew(row.force))
				if diff := cmp.Diff(row.want, renewed(got)); diff != "" {
					t.Errorf("renewed (-want +got):\n%s", diff)
				}
				if after := snap(t, p); row.want == nil && !after.equal(before) {
					t.Error("something was written all the same")
				}
				for _, r := range got {
					if leaf := snap(t, p).leaf(t, r.File); !r.Expires.Equal(leaf.NotAfter) || r.Names[0] != leaf.Subject.CommonName || r.Why == "" {
						t.Errorf("%+v does not describe the certificate that is there now", r)
					}
				}
			})
		})
	}
}

func TestRenew_OnlyKeySerialAndTimesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{Hosts: []string{"jobgate.example.com", "10.1.2.3"}, ClientName: "front", Lifetime: 90 * day})
		before := snap(t, p)
		time.Sleep(75 * day)
		must[[]certs.Renewal](t)(p.Renew(false))
		after := snap(t, p)
		for _, file := range both {
			was, is := before.leaf(t, file), after.leaf(t, file)
			for what, pair := range map[string][2]any{
				"subject":   {was.Subject.String(), is.Subject.String()},
				"DNS names": {was.DNSNames, is.DNSNames},
				"addresses": {was.IPAddresses, is.IPAddresses},
				"usage":     {was.ExtKeyUsage, is.ExtKeyUsage},
				"key usage": {was.KeyUsage, is.KeyUsage},
				"lifetime":  {was.NotAfter.Sub(was.NotBefore), is.NotAfter.Sub(is.NotBefore)},
				"end":       {was.NotAfter.Add(75 * day), is.NotAfter},
			} {
				if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
					t.Errorf("%s of %s (-was +is):\n%s", what, file, diff)
				}
			}
			if was.SerialNumber.Cmp(is.SerialNumber) == 0 || was.PublicKey.(*ecdsa.PublicKey).Equal(is.PublicKey) {
				t.Errorf("%s has its old serial number or key", file)
			}
		}
		if before[certs.CAFile] != after[certs.CAFile] || before[certs.SigningFile] != after[certs.SigningFile] {
			t.Error("the CA has changed")
		}
	})
}

func TestRenew_LeavesAloneWhatIsNotItsOwn(t *testing.T) {
	p := issued(t, certs.Request{})
	replace(t, filepath.Join(p.Dir(), certs.ServingFile), foreignPair(t))
	before := snap(t, p)
	got := must[[]certs.Renewal](t)(p.Renew(true))
	after := snap(t, p)
	if before[certs.ServingFile] != after[certs.ServingFile] || before[certs.ClientFile] == after[certs.ClientFile] {
		t.Error("the foreign certificate was renewed, or the own one was not")
	}
	if r := got[0]; !r.LeftAlone || r.Renewed || !strings.Contains(r.Why, "CN=corporate-ca") {
		t.Errorf("said of it: %+v", r)
	}

	remove(t, p, certs.ServingFile)
	if r := must[[]certs.Renewal](t)(p.Renew(true))[0]; !r.LeftAlone || !strings.Contains(r.Why, "missing") {
		t.Errorf("said of a missing one: %+v", r)
	}
}

func TestRenew_AnErrorAboutOneDoesNotKeepTheOther(t *testing.T) {
	p := issued(t, certs.Request{})
	replace(t, filepath.Join(p.Dir(), certs.ServingFile), []byte("garbled"))
	got, err := p.Renew(true)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(p.Dir(), certs.ServingFile)) {
		t.Errorf("error is %v, want one that names the file", err)
	}
	if diff := cmp.Diff([]string{certs.ClientFile}, renewed(got)); diff != "" {
		t.Errorf("renewed (-want +got):\n%s", diff)
	}
}

func TestRenew_NothingOutlivesItsCA(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := certs.Request{Lifetime: 100 * day, CALifetime: 200 * day}
		p := issued(t, r)
		end := snap(t, p).leaf(t, certs.SigningFile).NotAfter
		writes := 0
		for range 200 - 1 {
			time.Sleep(day)
			writes += len(renewed(must[[]certs.Renewal](t)(p.Renew(false))))
			for _, file := range both {
				if leaf := snap(t, p).leaf(t, file); leaf.NotAfter.After(end) || time.Now().After(leaf.NotAfter) {
					t.Fatalf("%s expires on %s, its CA on %s, now is %s", file, leaf.NotAfter, end, time.Now())
				}
			}
		}
		// After 67 and after 134 days. Later ones would expire with the CA, too.
		if writes != 4 {
			t.Errorf("%d renewals in a CA's life", writes)
		}
		time.Sleep(2 * day)
		if _, err := p.Renew(false); err == nil || !strings.Contains(err.Error(), "expired on") {
			t.Errorf("with an expired CA: %v", err)
		}
	})
}

// A clock that was ahead has left certificates that are not valid yet.
func TestRenew_ReplacesWhatIsNotValidYet(t *testing.T) {
	var ca, ahead snapshot
	synctest.Test(t, func(t *testing.T) {
		p := issued(t, certs.Request{})
		ca = snap(t, p)
		time.Sleep(day)
		must[[]certs.Renewal](t)(p.Renew(true))
		ahead = snap(t, p)
	})
	synctest.Test(t, func(t *testing.T) { // the same day once more
		p := issued(t, certs.Request{})
		ca.restore(t, p, certs.CAFile, certs.SigningFile)
		ahead.restore(t, p, both...)
		if diff := cmp.Diff(both, renewed(must[[]certs.Renewal](t)(p.Renew(false)))); diff != "" {
			t.Errorf("renewed (-want +got):\n%s", diff)
		}
		for _, file := range both {
			if leaf := snap(t, p).leaf(t, file); time.Now().Before(leaf.NotBefore) {
				t.Errorf("%s is valid from %s", file, leaf.NotBefore)
			}
		}
	})
}
