package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"github.com/jobgate/jobgate/internal/file"
)

// A certificate is near its end when this little of its life is left, unless the caller says otherwise. Renewals come
// earlier, so a certificate that gets this far is not renewed by jobgate.
const (
	longestWarning = 30 * 24 * time.Hour
	shareOfWarning = 4
)

// Inspection is what there is to say about one certificate in a file; or about the file, where it has none.
type Inspection struct {
	File      string     `json:"file"`
	Subject   string     `json:"subject,omitempty"`
	Names     []string   `json:"names,omitempty"` // DNS names and IP addresses
	Issuer    string     `json:"issuer,omitempty"`
	CA        bool       `json:"ca,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Problems  []string   `json:"problems,omitempty"` // none when all is well
}

// inspector looks at files; what is trusted and what is soon is the same for all of them.
type inspector struct {
	now   time.Time
	warn  time.Duration       // how near an end is a problem; 0: by the certificate's lifetime
	roots []*x509.Certificate // what certificates have to verify against; with none they are not verified
}

// Inspect says what is in the files of a PKI, and what is wrong with it. An end nearer than warn is a problem; 0 means an
// end nearer than both a quarter of the certificate's life and 30 days.
func (p *PKI) Inspect(warn time.Duration) (all []Inspection) {
	i := inspector{now: time.Now(), warn: warn}
	bundle, _ := readFile(filepath.Join(p.dir, CAFile)) // what is wrong with it is found below
	i.roots, _ = cert.ParseCertsPEM(bundle.content)
	exposed := p.exposed()
	if problem := exposed["."]; problem != "" {
		all = append(all, Inspection{File: p.dir, Problems: []string{problem}})
	}
	for _, name := range fileNames() {
		path := filepath.Join(p.dir, name)
		text, err := readFile(path)
		if name == NextSigningFile && errors.Is(err, fs.ErrNotExist) {
			continue // no rotation is under way
		}
		found := i.file(path, text, err, useOf(name))
		if problem := exposed[name]; problem != "" {
			found[0].trouble("%s", problem)
		}
		if found[0].Expires != nil && name != CAFile {
			if _, err := tls.X509KeyPair(text.content, text.content); err != nil {
				found[0].trouble("certificate and key: %v", err)
			}
		}
		all = append(all, found...)
	}
	return all
}

// useOf is what a file's certificate may be used for.
func useOf(name string) x509.ExtKeyUsage {
	if name == ClientFile {
		return x509.ExtKeyUsageClientAuth
	}
	return x509.ExtKeyUsageServerAuth // of a CA's certificate, any use is accepted
}

// InspectFiles says what is in files of certificates and keys, of any issuer, and what is wrong with it. Certificates have
// to verify against the CAs in the bundle; without one (""), against those in the files, if there are any. A key has to
// fit a certificate in one of the files.
func InspectFiles(files []string, bundle string, warn time.Duration) []Inspection {
	i := inspector{now: time.Now(), warn: warn}
	texts, errs := map[string]entry{}, map[string]error{}
	for _, path := range files {
		texts[path], errs[path] = readFile(path)
	}
	if bundle != "" {
		text, err := readFile(bundle)
		if err == nil {
			i.roots, err = cert.ParseCertsPEM(text.content)
		}
		if err != nil {
			return []Inspection{{File: bundle, Problems: []string{fmt.Sprintf("cannot be used as the CA: %v", err)}}}
		}
	}
	var all []Inspection
	var chains [][]byte
	for _, path := range files {
		certificates, err := cert.ParseCertsPEM(texts[path].content)
		if err != nil {
			continue
		}
		chains = append(chains, texts[path].content)
		if bundle == "" {
			i.roots = append(i.roots, authorities(certificates)...)
		}
	}
	for _, path := range files {
		found := i.file(path, texts[path], errs[path], x509.ExtKeyUsageAny)
		if errs[path] == nil && hasKey(texts[path].content) {
			checkKey(&found[0], texts[path].content, chains)
			if problem := file.Exposed(path, file.Secret); problem != "" {
				found[0].trouble("%s", problem)
			}
		}
		all = append(all, found...)
	}
	return all
}

// authorities are the CAs among certificates that can be trusted as roots: those that sign themselves.
func authorities(certificates []*x509.Certificate) (cas []*x509.Certificate) {
	for _, c := range certificates {
		if c.IsCA && c.CheckSignatureFrom(c) == nil {
			cas = append(cas, c)
		}
	}
	return cas
}

func hasKey(text []byte) bool {
	_, err := keyutil.ParsePrivateKeyPEM(text)
	return err == nil
}

// checkKey says whether a file's key fits its certificate or, if it has none, any.
func checkKey(i *Inspection, text []byte, chains [][]byte) {
	if i.Expires != nil {
		chains = [][]byte{text}
	} else {
		i.Subject, i.Problems = "(private key)", nil
	}
	fits := slices.ContainsFunc(chains, func(chain []byte) bool {
		_, err := tls.X509KeyPair(chain, text)
		return err == nil
	})
	if !fits {
		i.trouble("its key fits no certificate here")
	}
}

// file inspects the certificates in a file; there is always one Inspection at least.
func (i *inspector) file(path string, f entry, err error, use x509.ExtKeyUsage) []Inspection {
	if err != nil {
		return []Inspection{{File: path, Problems: []string{fmt.Sprintf("cannot be read: %v", err)}}}
	}
	certificates, err := cert.ParseCertsPEM(f.content)
	if err != nil {
		return []Inspection{{File: path, Problems: []string{fmt.Sprintf("cannot be read as PEM certificates: %v", err)}}}
	}
	intermediates := x509.NewCertPool()
	for _, c := range certificates[1:] {
		intermediates.AddCert(c)
	}
	var found []Inspection
	for _, c := range certificates {
		found = append(found, i.certificate(path, c, intermediates, use))
	}
	return found
}

func (i *inspector) certificate(path string, c *x509.Certificate, intermediates *x509.CertPool, use x509.ExtKeyUsage) Inspection {
	found := Inspection{
		File: path, Subject: c.Subject.String(), Names: names(c)[1:], Issuer: c.Issuer.String(), CA: c.IsCA,
		NotBefore: &c.NotBefore, Expires: &c.NotAfter,
	}
	at := i.checkTime(&found, c)
	if len(i.roots) == 0 {
		return found
	}
	if c.IsCA {
		use = x509.ExtKeyUsageAny
	}
	roots := x509.NewCertPool()
	for _, root := range i.roots {
		roots.AddCert(root)
	}
	_, err := c.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{use}, CurrentTime: at,
	})
	if err != nil {
		found.trouble("does not verify: %v", err)
	}
	return found
}

// checkTime says what is wrong with a certificate's time, and returns a time at which it is valid: whether its issuer is
// trusted is another question.
func (i *inspector) checkTime(found *Inspection, c *x509.Certificate) time.Time {
	warn := i.warn
	if warn == 0 {
		warn = min(longestWarning, c.NotAfter.Sub(c.NotBefore)/shareOfWarning)
	}
	switch {
	case i.now.After(c.NotAfter):
		found.trouble("expired")
		return c.NotAfter
	case i.now.Before(c.NotBefore):
		found.trouble("not valid before %s", stamp(c.NotBefore))
		return c.NotBefore
	case c.NotAfter.Sub(i.now) < warn:
		found.trouble("expires soon")
	}
	return i.now
}

func (i *Inspection) trouble(format string, args ...any) {
	i.Problems = append(i.Problems, fmt.Sprintf(format, args...))
}
