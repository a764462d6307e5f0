package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"iter"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/jobgate/jobgate/internal/file"
)

// MaxNamedFileBytes bounds a file that a configuration names: 4 MiB, ten times the certificates that a system trusts.
const MaxNamedFileBytes = 4 << 20

// ReloadedFiles returns the files to watch besides the configuration file. The certificates of the serving side are watched
// where they are loaded.
func (c *Configuration) ReloadedFiles() []string {
	var files []string
	for _, file := range []string{c.GitLab.CAFile, c.GitLab.TokenFile} {
		if file != "" {
			files = append(files, file)
		}
	}
	return files
}

// resolveFiles makes the names of files relative to the folder of the configuration file.
func (c *Configuration) resolveFiles(configurationFile string) {
	for _, file := range []*string{
		&c.GitLab.CAFile, &c.GitLab.TokenFile, &c.Serving.CertFile, &c.Serving.KeyFile, &c.Serving.ClientCAFile,
	} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(configurationFile), *file)
		}
	}
}

// checkFiles reads the named files and checks their content.
func (c *Configuration) checkFiles() field.ErrorList {
	var errs field.ErrorList
	gitlab, serving := field.NewPath("gitlab"), field.NewPath("serving")
	errs = append(errs, checkFile(c.GitLab.CAFile, gitlab.Child("caFile"), checkCertificates)...)
	errs = append(errs, checkFile(c.GitLab.TokenFile, gitlab.Child("tokenFile"), checkNotBlank)...)
	errs = append(errs, checkFile(c.Serving.ClientCAFile, serving.Child("clientCAFile"), checkCertificates)...)

	var certificate []byte
	invalid := checkFile(c.Serving.CertFile, serving.Child("certFile"), func(data []byte) error {
		certificate = data
		return checkLeaf(data)
	})
	certificateUsable := c.Serving.CertFile != "" && len(invalid) == 0
	errs = append(errs, invalid...)
	return append(errs, checkFile(c.Serving.KeyFile, serving.Child("keyFile"), func(key []byte) error {
		if !certificateUsable {
			return nil
		}
		_, err := tls.X509KeyPair(certificate, key)
		return err
	})...)
}

func checkFile(name string, path *field.Path, check func(data []byte) error) field.ErrorList {
	if name == "" {
		return nil
	}
	data, err := file.Read(name, MaxNamedFileBytes)
	if err == nil {
		err = check(data)
	}
	if err == nil {
		return nil
	}
	// An error of package os repeats the name of the file.
	if pathErr := (*os.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return field.ErrorList{field.Invalid(path, name, err.Error())}
}

// checkCertificates asks for one certificate that can be parsed, as x509.CertPool.AppendCertsFromPEM does, but says why
// there is none.
func checkCertificates(data []byte) error {
	err := errNoCertificate
	for block := range certificateBlocks(data) {
		if _, err = x509.ParseCertificate(block); err == nil {
			return nil
		}
	}
	return err
}

// checkLeaf asks that the first certificate, the one that is served as the server's own, can be parsed.
func checkLeaf(data []byte) error {
	for block := range certificateBlocks(data) {
		_, err := x509.ParseCertificate(block)
		return err
	}
	return errNoCertificate
}

var errNoCertificate = errors.New("no PEM block of type CERTIFICATE in it")

func certificateBlocks(data []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == "CERTIFICATE" && !yield(block.Bytes) {
				return
			}
		}
	}
}

func checkNotBlank(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("nothing in it")
	}
	return nil
}
