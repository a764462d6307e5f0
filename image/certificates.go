package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// maxCertificates bounds the bundle, in bytes; Debian's has about 220,000.
const maxCertificates = 4 << 20

// certificates is the bundle of authorities that jobgate trusts where the configuration names no caFile.
type certificates struct {
	content []byte
	count   int
}

// sum is the SHA-256 of the bundle, in hexadecimal.
func (c certificates) sum() string {
	sum := sha256.Sum256(c.content)
	return hex.EncodeToString(sum[:])
}

// readCertificates takes the file as it is, and refuses one that has anything but certificates in it.
func readCertificates(file string) (certificates, error) {
	info, err := os.Stat(file)
	if errors.Is(err, os.ErrNotExist) {
		return certificates{}, fmt.Errorf("CA bundle: %w: install the package ca-certificates, or name one with --ca-certificates", err)
	}
	if err != nil {
		return certificates{}, fmt.Errorf("CA bundle: %w", err)
	}
	if info.Size() > maxCertificates {
		return certificates{}, fmt.Errorf("CA bundle %s is %d bytes, more than %d", file, info.Size(), maxCertificates)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return certificates{}, fmt.Errorf("CA bundle: %w", err)
	}
	count, err := countCertificates(content)
	if err != nil {
		return certificates{}, fmt.Errorf("CA bundle %s: %w", file, err)
	}
	return certificates{content: content, count: count}, nil
}

func countCertificates(content []byte) (int, error) {
	count := 0
	for rest := content; ; count++ {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return 0, fmt.Errorf("block %d is a %s, want certificates alone", count+1, block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return 0, fmt.Errorf("certificate %d: %w", count+1, err)
		}
		rest = after
	}
	if begun := bytes.Count(content, []byte("-----BEGIN ")); begun != count {
		return 0, fmt.Errorf("%d of %d certificates can be read", count, begun)
	}
	if count == 0 {
		return 0, errors.New("no certificate in it")
	}
	return count, nil
}
