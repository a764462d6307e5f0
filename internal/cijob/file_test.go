package cijob_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
)

func write(t *testing.T, file, text string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	gitlabs := write(t, filepath.Join(dir, "gitlab"), injected, 0o644)
	own := write(t, filepath.Join(dir, "own"), `
apiVersion: v1
kind: Config
clusters: [{name: own, cluster: {server: "https://api", certificate-authority: ca.crt}}]
contexts: [{name: "acme/agents:prod", context: {cluster: own, user: "agent:4"}}]
current-context: acme/agents:prod
`, 0o600)
	none := filepath.Join(dir, "none")
	rows := []struct {
		name    string
		files   []string
		want    string // the cluster of acme/agents:prod
		current string
		err     error
	}{
		{name: "GitLab's", files: []string{gitlabs}, want: "gitlab", current: "gitlab-deploy"},
		{name: "the first file decides", files: []string{own, gitlabs}, want: "own", current: "acme/agents:prod"},
		{name: "the other way around", files: []string{gitlabs, own}, want: "gitlab", current: "gitlab-deploy"},
		{name: "a file that is missing", files: []string{none, gitlabs}, want: "gitlab", current: "gitlab-deploy"},
		{name: "no file", files: []string{none}, err: cijob.ErrNoKubeconfig},
		{name: "no name", err: cijob.ErrNoKubeconfig},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			config, err := cijob.Load(row.files...)
			if !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
				t.Fatalf("error is %v, want %v", err, row.err)
			}
			if row.err != nil {
				return
			}
			if got := config.Contexts["acme/agents:prod"].Cluster; got != row.want || config.CurrentContext != row.current {
				t.Errorf("cluster %q and current context %q, want %q and %q", got, config.CurrentContext, row.want, row.current)
			}
			if c := config.Clusters["own"]; c != nil && c.CertificateAuthority != filepath.Join(dir, "ca.crt") {
				t.Errorf("certificate authority is %s", c.CertificateAuthority)
			}
			if config.Contexts["gitlab-deploy"] == nil {
				t.Error("a context is lost")
			}
		})
	}
}

func TestLoad_RefusesWhatIsNoKubeconfig(t *testing.T) {
	dir := t.TempDir()
	rows := []struct{ name, text string }{
		{"a token", secret},
		{"a list", "[" + secret + "]"},
		{"broken YAML", "clusters: [\n" + secret},
		{"a token in the place of a list", "apiVersion: v1\nkind: Config\nusers: " + secret},
		{"too large", strings.Repeat("#", 4<<20+1)},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := cijob.Load(write(t, filepath.Join(dir, "kubeconfig"), row.text, 0o600))
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "Secret") || strings.Contains(err.Error(), "glcbt") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	config := clientcmdapi.NewConfig()
	config.AuthInfos["agent:4"] = &clientcmdapi.AuthInfo{Token: "ci:4:" + secret}
	rows := []struct {
		name    string
		arrange func(t *testing.T, dir string) (file, written string)
	}{
		{"a new file", func(_ *testing.T, dir string) (string, string) {
			return filepath.Join(dir, "kubeconfig"), filepath.Join(dir, "kubeconfig")
		}},
		{"a file that every user may read, as GitLab's", func(t *testing.T, dir string) (string, string) {
			file := write(t, filepath.Join(dir, "kubeconfig"), injected, 0o666)
			return file, file
		}},
		{"a read-only file", func(t *testing.T, dir string) (string, string) {
			file := write(t, filepath.Join(dir, "kubeconfig"), injected, 0o400)
			return file, file
		}},
		{"a link", func(t *testing.T, dir string) (string, string) {
			file := write(t, filepath.Join(dir, "target"), injected, 0o644)
			link := filepath.Join(dir, "kubeconfig")
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			return link, file
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			file, written := row.arrange(t, dir)
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := cijob.Write(file, config); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(written)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != 0o600 {
				t.Errorf("mode is %v", info.Mode())
			}
			got, err := cijob.Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff("ci:4:"+secret, got.AuthInfos["agent:4"].Token); diff != "" {
				t.Error("another token was written")
			}
			after, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(after) != max(len(before), 1) {
				t.Errorf("the folder has %d files after %d", len(after), len(before))
			}
		})
	}
}

func TestWrite_LeavesNothingWhereItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "folder", "kubeconfig")
	if err := os.MkdirAll(filepath.Join(taken, "not-empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	rows := []struct{ name, file string }{
		{"a folder that does not exist", filepath.Join(dir, "none", "kubeconfig")},
		{"a name that a folder has", taken},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := cijob.Write(row.file, clientcmdapi.NewConfig()); err == nil {
				t.Fatal("no error")
			}
			left, err := filepath.Glob(filepath.Join(dir, "*", "kubeconfig.*"))
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
