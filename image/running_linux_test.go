package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (c *container) testVersion(t *testing.T) {
	stdout, stderr, status := c.run(t, "", "version")
	if want := fmt.Sprintf("jobgate v9.8.7 %s linux/%s\n", runtime.Version(), runtime.GOARCH); status != 0 || stdout != want {
		t.Errorf("status %d: %s%s, want %s", status, stdout, stderr, want)
	}
}

func (c *container) testMissingConfiguration(t *testing.T) {
	_, stderr, status := c.run(t, "", "config", "validate", "/etc/jobgate/config.yaml")
	if status != 1 || !strings.Contains(stderr, "/etc/jobgate/config.yaml") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// configuration is that of an agent 4, with the serving certificate of a mounted file.
func configuration(gitlab, address string) string {
	return "apiVersion: jobgate.io/v1alpha1\nkind: Configuration\n" +
		"gitlab: {url: \"" + gitlab + "\", timeout: 2s}\n" +
		"agents: [{id: 4}]\n" +
		"serving: {address: \"" + address + ":9443\", healthAddress: \"" + address + ":9444\", certFile: serving.pem, keyFile: serving.pem}\n"
}

// serveGitLab answers as GitLab does about a running job, and counts.
func serveGitLab(t *testing.T, certificate tls.Certificate) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = &atomic.Int32{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/api/v4/job/allowed_agents" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"allowed_agents":[{"id":4,"config_project":{"id":7},"configuration":{"access_as":{"ci_job":{}}}}],`+
			`"job":{"id":1001},"pipeline":{"id":501},"project":{"id":150,"groups":[{"id":23}]},"user":{"id":9,"username":"jdoe"}}`)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is no news
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL, asked
}

// The image's own bundle is all that can verify GitLab here.
func (c *container) testTrust(t *testing.T, inBundle tls.Certificate) {
	rows := []struct {
		name    string
		dir     string
		gitlab  tls.Certificate
		trusted bool
	}{
		{"a CA of the bundle", "trusted", inBundle, true},
		{"another CA", "other", newCertificate(t), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			url, asked := serveGitLab(t, row.gitlab)
			c.mount(t, row.dir+"/config.yaml", configuration(url, "127.0.0.1"))
			c.mount(t, row.dir+"/serving.pem", certificatePEM(row.gitlab)+keyPEM(t, row.gitlab))
			stdout, stderr, status := c.run(t, rand.Text(), "explain", "--config", "/"+row.dir+"/config.yaml", "--token-file", "-", "--agent", "4")
			switch {
			case row.trusted && (status != 0 || asked.Load() == 0 || !strings.Contains(stdout, "gitlab:ci_job:1001")):
				t.Errorf("status %d, asked %d times: %s%s", status, asked.Load(), stdout, stderr)
			case !row.trusted && (status != 2 || asked.Load() != 0 || !strings.Contains(stderr, "unknown authority")):
				t.Errorf("status %d, asked %d times: %s%s", status, asked.Load(), stdout, stderr)
			}
		})
	}
}

func (c *container) testServe(t *testing.T) {
	serving := newCertificate(t)
	// Its own address, since the ports are those that the image names.
	address := fmt.Sprintf("127.%d.%d.%d", 1+mathrand.IntN(254), mathrand.IntN(256), 1+mathrand.IntN(254))
	c.mount(t, "etc/jobgate/config.yaml", configuration("https://gitlab.example.com", address))
	c.mount(t, "etc/jobgate/serving.pem", certificatePEM(serving)+keyPEM(t, serving))
	before := tree(t, c.root)
	var logs bytes.Buffer
	cmd := c.command(t, "serve", "--config", "/etc/jobgate/config.yaml")
	cmd.Stdout, cmd.Stderr = &logs, &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := waitLive(t.Context(), "http://"+address+":9444/livez", ended); err != nil {
		_ = cmd.Process.Kill()
		t.Fatalf("%v\n%s", err, logs.String())
	}
	c.checkConfinement(t, cmd.Process.Pid)
	checkReviews(t, address+":9443", serving)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the end at SIGTERM: %v\n%s", err, logs.String())
	}
	if diff := cmp.Diff(before, tree(t, c.root)); diff != "" {
		t.Errorf("it wrote into its image (-before +after):\n%s", diff)
	}
}

// waitLive returns when the process answers, and gives up when it ends.
func waitLive(ctx context.Context, url string, ended chan error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %d", response.StatusCode)
		}
		select {
		case <-again.C:
		case exit := <-ended:
			return fmt.Errorf("jobgate ended before it served: %w", exit)
		case <-ctx.Done():
			return fmt.Errorf("jobgate does not get live: %w", err)
		}
	}
}

// checkConfinement asks the kernel whether the process is where and who the image says.
func (c *container) checkConfinement(t *testing.T, pid int) {
	t.Helper()
	root, status := confinement(t, pid)
	if root != c.root {
		t.Errorf("its root is %s, want %s", root, c.root)
	}
	uid := c.uid
	if os.Getuid() != 0 {
		uid = os.Getuid() // as it is called outside of its user namespace
	}
	if want := fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", uid); status["Uid"] != want {
		t.Errorf("its users are %s, want %s", status["Uid"], want)
	}
	if strings.Trim(status["CapEff"], "0") != "" {
		t.Errorf("it has capabilities: %s", status["CapEff"])
	}
}

// checkReviews finds the webhooks behind the mounted certificate.
func checkReviews(t *testing.T, address string, serving tls.Certificate) {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(certificatePEM(serving)))
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: trusted, ServerName: "localhost"},
		DisableKeepAlives: true,
	}}
	for _, path := range []string{"/authenticate", "/authorize"} {
		response, err := client.Get("https://" + address + path)
		if err != nil {
			t.Error(err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: status %d, want %d", path, response.StatusCode, http.StatusMethodNotAllowed)
		}
	}
}
