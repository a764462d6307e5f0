package main_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// binary is the command, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gitlabd")
	if err == nil {
		binary = filepath.Join(dir, "gitlabd")
		command := exec.Command("go", "build", "-o", binary, ".")
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		err = command.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building gitlabd:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

var readyLine = regexp.MustCompile(`^gitlab=(\S+) control=(\S+)\n$`)

// run starts the command and returns its URLs and a function that ends it by the signal and reports its error.
func run(t *testing.T, args ...string) (gitlab, control string, end func(os.Signal) error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, args...)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	match := readyLine.FindStringSubmatch(line)
	if match == nil {
		_ = command.Process.Kill()
		t.Fatalf("it says %q (%v, %v)", line, err, command.Wait())
	}
	return match[1], match[2], func(signal os.Signal) error {
		if err := command.Process.Signal(signal); err != nil {
			return err
		}
		if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
			t.Errorf("it went on to say %q (%v)", rest, err)
		}
		return command.Wait()
	}
}

func TestGitlabd_ServesTheWorldOfItsFile(t *testing.T) {
	const job = int64(9007199254740993) // exact in no float64
	ca := filepath.Join(t.TempDir(), "ca.pem")
	gitlab, control, end := run(t,
		"--world", "testdata/world.yaml", "--tls", "--ca-file", ca, "--relative-url-root", "/gitlab")
	remote := gitlabtest.Dial(control)
	defer remote.Close()
	if url, err := remote.URL(); err != nil || url != gitlab || !strings.HasPrefix(gitlab, "https://127.0.0.1:") {
		t.Errorf("URL %s, announced %s: %v", url, gitlab, err)
	}
	if err := remote.Update(func(w *gitlabtest.Instance) { w.Job(job).Name = "deploy" }); err != nil {
		t.Fatal(err)
	}
	world, err := remote.Instance()
	if err != nil {
		t.Fatal(err)
	}
	client, lookup, token := trusting(t, ca), gitlab+"/api/v4/job/allowed_agents", world.Job(job).Token
	if status, body := get(t, client, lookup, token); status != http.StatusOK ||
		!strings.Contains(body, `"job":{"id":9007199254740993}`) || !strings.Contains(body, `"slug":"prod"`) {
		t.Errorf("%d %s", status, body)
	}
	response, err := client.Post(control+"/jobs/9007199254740993/status?to=success", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if status, _ := get(t, client, lookup, token); status != http.StatusUnauthorized {
		t.Errorf("status %d of an ended job", status)
	}
	if calls, err := remote.Calls(gitlabtest.AllowedAgents); err != nil || calls != 2 {
		t.Errorf("%d calls: %v", calls, err)
	}
	if err := end(syscall.SIGTERM); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func trusting(t *testing.T, caFile string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("no CA")
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func get(t *testing.T, client *http.Client, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("JOB-TOKEN", token)
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestGitlabd_EndsOnInterrupt(t *testing.T) {
	gitlab, _, end := run(t)
	if !strings.HasPrefix(gitlab, "http://127.0.0.1:") {
		t.Errorf("URL %s", gitlab)
	}
	if err := end(os.Interrupt); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestGitlabd_RefusesToStart(t *testing.T) {
	misspelt := filepath.Join(t.TempDir(), "world.yaml")
	if err := os.WriteFile(misspelt, []byte("setings: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	impossible := filepath.Join(t.TempDir(), "world.yaml")
	if err := os.WriteFile(impossible, []byte("jobs: [{id: 1, project: 2, status: running}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
	}{
		{"no such world", []string{"--world", "testdata/none.yaml"}},
		{"a world with a misspelt key", []string{"--world", misspelt}},
		{"a world that no GitLab holds", []string{"--world", impossible}},
		{"an address for all", []string{"--listen", ":0"}},
		{"a control for all", []string{"--control", ":0"}},
		{"a CA file without TLS", []string{"--ca-file", filepath.Join(t.TempDir(), "ca.pem")}},
		{"a CA file that cannot be", []string{"--tls", "--ca-file", filepath.Join(t.TempDir(), "none", "ca.pem")}},
		{"an argument", []string{"world.yaml"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), binary, test.args...).CombinedOutput()
			if err == nil {
				t.Errorf("it ended well: %s", out)
			}
		})
	}
}
