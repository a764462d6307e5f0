package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/image/internal/programtest"
)

func TestReadCertificates(t *testing.T) {
	certificate := newCertificate(t)
	ca, key := certificatePEM(certificate), keyPEM(t, certificate)
	rows := []struct {
		name  string
		text  string
		count int
		err   string // part of it; empty: none
	}{
		{"one", ca, 1, ""},
		{"two, with remarks", "# one\n" + ca + "\n# two\n" + ca, 2, ""},
		{"none", "# nothing\n", 0, "no certificate in it"},
		{"empty", "", 0, "no certificate in it"},
		{"a private key among them", ca + key, 0, "block 2 is a PRIVATE KEY"},
		{"no certificate inside", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0, "certificate 1"},
		{"cut short", ca + ca[:len(ca)/2], 0, "1 of 2 certificates can be read"},
		{"too large", strings.Repeat("#", maxCertificates+1), 0, "more than"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ca.crt")
			programtest.Write(t, file, row.text)
			got, err := readCertificates(file)
			switch {
			case row.err == "" && err != nil:
				t.Fatal(err)
			case row.err == "" && (got.count != row.count || string(got.content) != row.text):
				t.Errorf("%d certificates, want %d and the file as it is", got.count, row.count)
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err) || !strings.Contains(err.Error(), file)):
				t.Errorf("error is %v, want %q and the file's name", err, row.err)
			}
		})
	}
}

func TestReadCertificates_MissingFileSaysWhatToDo(t *testing.T) {
	_, err := readCertificates(filepath.Join(t.TempDir(), "ca.crt"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--ca-certificates") {
		t.Errorf("error is %v", err)
	}
}
