package config_test

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// The configuration of the tests of Load: every file that can be named is named, relative to the configuration.
const everyFile = `apiVersion: jobgate.io/v1alpha1
kind: Configuration
gitlab:
  url: https://gitlab.example.com
  caFile: gitlab/ca.crt
  tokenFile: gitlab/token
agents: [{id: 4}]
serving:
  certFile: tls.crt
  keyFile: tls.key
  clientCAFile: ca.crt
`

func TestLoad_ResolvesFilesAgainstTheConfigurationFile(t *testing.T) {
	directory := writeEveryFile(t)
	got, err := config.Load(filepath.Join(directory, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Serving{
		Address:       "127.0.0.1:9443",
		CertFile:      filepath.Join(directory, "tls.crt"),
		KeyFile:       filepath.Join(directory, "tls.key"),
		ClientCAFile:  filepath.Join(directory, "ca.crt"),
		HealthAddress: "127.0.0.1:9444",
	}
	if diff := cmp.Diff(want, got.Serving); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	reloaded := []string{filepath.Join(directory, "gitlab/ca.crt"), filepath.Join(directory, "gitlab/token")}
	if diff := cmp.Diff(reloaded, got.ReloadedFiles()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoad_LeavesAbsoluteNamesAlone(t *testing.T) {
	directory, other := writeEveryFile(t), writeEveryFile(t)
	text := strings.Replace(everyFile, "tokenFile: gitlab/token", "tokenFile: "+other+"/gitlab/token", 1)
	text = strings.Replace(text, "  caFile: gitlab/ca.crt\n", "", 1)
	write(t, directory, "config.yaml", text)
	got, err := config.Load(filepath.Join(directory, "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{filepath.Join(other, "gitlab/token")}, got.ReloadedFiles()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParse_NeitherResolvesNorOpensFiles(t *testing.T) {
	if got := parse(t, everyFile).Serving.CertFile; got != "tls.crt" {
		t.Errorf("got %q", got)
	}
}

func TestLoad_SaysWhichFileIsUnusableAndWhy(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(t *testing.T, directory string)
		want   []string
	}{
		{
			"files that are missing",
			func(t *testing.T, directory string) {
				for _, name := range []string{"gitlab/ca.crt", "gitlab/token", "tls.crt", "tls.key", "ca.crt"} {
					must(t, os.Remove(filepath.Join(directory, name)))
				}
			},
			[]string{
				`5: gitlab.caFile: "DIR/gitlab/ca.crt": no such file or directory`,
				`6: gitlab.tokenFile: "DIR/gitlab/token": no such file or directory`,
				`9: serving.certFile: "DIR/tls.crt": no such file or directory`,
				`10: serving.keyFile: "DIR/tls.key": no such file or directory`,
				`11: serving.clientCAFile: "DIR/ca.crt": no such file or directory`,
			},
		},
		{
			"a directory and a pipe",
			func(t *testing.T, directory string) {
				must(t, os.Remove(filepath.Join(directory, "gitlab/token")))
				must(t, os.Mkdir(filepath.Join(directory, "gitlab/token"), 0o700))
				must(t, os.Remove(filepath.Join(directory, "tls.key")))
				must(t, syscall.Mkfifo(filepath.Join(directory, "tls.key"), 0o600))
			},
			[]string{
				`6: gitlab.tokenFile: "DIR/gitlab/token": not a regular file`,
				`10: serving.keyFile: "DIR/tls.key": not a regular file`,
			},
		},
		{
			"a file that is too large",
			func(t *testing.T, directory string) { write(t, directory, "ca.crt", strings.Repeat(" ", 4<<20+1)) },
			[]string{`11: serving.clientCAFile: "DIR/ca.crt": the file is too large: more than 4194304 bytes`},
		},
		{
			"a blank token",
			func(t *testing.T, directory string) { write(t, directory, "gitlab/token", "\n") },
			[]string{`6: gitlab.tokenFile: "DIR/gitlab/token": nothing in it`},
		},
		{
			"bundles without a certificate",
			func(t *testing.T, directory string) {
				_, key := certificate(t)
				write(t, directory, "gitlab/ca.crt", "")
				write(t, directory, "tls.crt", "certificate")
				write(t, directory, "ca.crt", key)
			},
			[]string{
				`5: gitlab.caFile: "DIR/gitlab/ca.crt": no PEM block of type CERTIFICATE in it`,
				`9: serving.certFile: "DIR/tls.crt": no PEM block of type CERTIFICATE in it`,
				`11: serving.clientCAFile: "DIR/ca.crt": no PEM block of type CERTIFICATE in it`,
			},
		},
		{
			"certificates that are none",
			func(t *testing.T, directory string) {
				good, _ := certificate(t)
				write(t, directory, "gitlab/ca.crt", block("CERTIFICATE", "x"))
				write(t, directory, "tls.crt", block("CERTIFICATE", "x")+good)
			},
			[]string{
				`5: gitlab.caFile: "DIR/gitlab/ca.crt": x509: malformed certificate`,
				`9: serving.certFile: "DIR/tls.crt": x509: malformed certificate`,
			},
		},
		{
			"another certificate's key",
			func(t *testing.T, directory string) {
				_, key := certificate(t)
				write(t, directory, "tls.key", key)
			},
			[]string{
				`10: serving.keyFile: "DIR/tls.key": tls: private key does not match public key`,
			},
		},
		{
			"a file and the configuration",
			func(t *testing.T, directory string) {
				write(t, directory, "config.yaml", everyFile+"  address: x\n  certfile: x\n  clientNames: x\n")
				write(t, directory, "gitlab/token", "")
			},
			[]string{
				`6: gitlab.tokenFile: "DIR/gitlab/token": nothing in it`,
				`12: serving.address: must be host:port with a port from 0 to 65535, not "x"`,
				`13: serving.certfile: unknown key`,
				`14: serving.clientNames: must be a list, not a string`,
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			directory := writeEveryFile(t)
			row.change(t, directory)
			c, err := config.Load(filepath.Join(directory, "config.yaml"))
			got := listed(t, c, err)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], directory, "DIR")
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoad_AcceptsOneGoodCertificateAmongOthers(t *testing.T) {
	directory := writeEveryFile(t)
	good, key := certificate(t)
	write(t, directory, "ca.crt", "# a comment\n"+key+block("CERTIFICATE", "x")+good)
	if _, err := config.Load(filepath.Join(directory, "config.yaml")); err != nil {
		t.Error(err)
	}
}

func TestLoad_NamesTheFileInItsErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if _, err := config.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	write(t, filepath.Dir(path), "config.yaml", "a: "+strings.Repeat("x", 2<<20))
	if _, err := config.Load(path); !errors.Is(err, file.ErrTooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want %v of %s", err, file.ErrTooLarge, path)
	}
	write(t, filepath.Dir(path), "config.yaml", "")
	var invalid *config.Error
	if _, err := config.Load(path); !errors.As(err, &invalid) || invalid.File != path {
		t.Errorf("got %v, want a *config.Error of %s", err, path)
	}
}

// writeEveryFile returns a directory with a valid configuration and all that it names.
func writeEveryFile(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	must(t, os.Mkdir(filepath.Join(directory, "gitlab"), 0o700))
	ca, _ := certificate(t)
	leaf, key := certificate(t)
	for name, text := range map[string]string{
		"config.yaml": everyFile, "gitlab/ca.crt": ca, "gitlab/token": "not a token\n",
		"tls.crt": leaf, "tls.key": key, "ca.crt": ca,
	} {
		write(t, directory, name, text)
	}
	return directory
}

// certificate returns a certificate and its key, in PEM.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	authority, err := pkitest.NewAuthority("test")
	must(t, err)
	pair, err := authority.Server("test")
	must(t, err)
	certPEM, keyPEM, err := pkitest.Encode(pair)
	must(t, err)
	return string(certPEM), string(keyPEM)
}

func block(kind, content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
}

func write(t *testing.T, directory, name, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(directory, name), []byte(text), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
