package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	logsapi "k8s.io/component-base/logs/api/v1"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// TestServe runs the whole command: it starts, takes a changed configuration, refuses a broken one, and drains.
func TestServe(t *testing.T) {
	s := gitlabtest.New(t, gitlabtest.Instance{
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "group1/project1"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents:   []gitlabtest.Agent{{ID: 4, Name: "four", Project: 150}, {ID: 5, Name: "five", Project: 150}},
		Jobs:     []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running"}},
	})
	w := s.Instance()
	token := w.Job(1001).Token
	d := startServe(t, s.URL())

	if got := d.login(t, 4, token); !strings.Contains(got, "gitlab:agent:4") {
		t.Fatalf("agent 4: %s", got)
	}
	if got := d.login(t, 5, token); !strings.Contains(got, "agent 5 is not an agent of this cluster") {
		t.Errorf("agent 5 before it is configured: %s", got)
	}

	good := d.config
	d.rewrite(t, strings.Replace(good, "- id: 4\n", "- id: 4\n- id: 5\n", 1))
	d.await(t, `jobgate_config_reloads_total{result="applied"} 1`)
	if got := d.login(t, 5, token); !strings.Contains(got, "gitlab:agent:5") {
		t.Errorf("agent 5 once it is configured: %s", got)
	}

	d.rewrite(t, good+"cahce: {}\n")
	d.await(t, `jobgate_config_reloads_total{result="refused"} 1`)
	if got := d.login(t, 5, token); !strings.Contains(got, "gitlab:agent:5") {
		t.Errorf("agent 5 after a broken configuration, which must change nothing: %s", got)
	}

	d.rewrite(t, good+"restrictions: [{name: none, require: {projects: [1]}}]\n")
	d.await(t, `jobgate_config_reloads_total{result="applied"} 2`)
	if got := d.review(t, 1001); !strings.Contains(got, `"denied":true`) || !strings.Contains(got, "none") {
		t.Errorf("a request under a new restriction: %s", got)
	}
	if body := d.get(t, "/metrics"); strings.Contains(body, token) {
		t.Error("the metrics hold the token")
	}
	d.stop(t)
}

// served is a running jobgate.
type served struct {
	file, config    string
	reviews, health string
	client          *http.Client
	cancel          context.CancelFunc
	ended           chan error
}

func startServe(t *testing.T, gitlabURL string) *served {
	t.Helper()
	d := newServed(t, gitlabURL)
	d.start(t)
	return d
}

// newServed has a configuration with free addresses.
func newServed(t *testing.T, gitlabURL string) *served {
	t.Helper()
	// Logging is set up once in a process; a repeated test sets it up again.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	d := &served{
		reviews: freeAddress(t), health: freeAddress(t), ended: make(chan error, 1),
		// Without a client CA jobgate is for loopback only, and its certificate is not the point here.
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
	}
	d.file = writeConfig(t, gitlabURL, "")
	text, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	d.config = strings.Replace(strings.Replace(string(text), "address: \"127.0.0.1:0\"", "address: \""+d.reviews+"\"", 1),
		"healthAddress: \"127.0.0.1:0\"", "healthAddress: \""+d.health+"\"", 1)
	d.rewrite(t, d.config)
	return d
}

func (d *served) start(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	cmd := newCommand()
	cmd.SetArgs(append([]string{"serve", "--config", d.file, "-v=10"}, args...))
	go func() { d.ended <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(cancel)
	eventually.True(t, "jobgate is ready", func() bool {
		select {
		case err := <-d.ended:
			t.Fatalf("serve ended: %v", err)
		default:
		}
		resp, err := http.Get("http://" + d.health + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

func (d *served) stop(t *testing.T) {
	t.Helper()
	d.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	d.cancel()
	if err := <-d.ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// rewrite replaces the configuration as editors do.
func (d *served) rewrite(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.file+".next", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(d.file+".next", d.file); err != nil {
		t.Fatal(err)
	}
}

func (d *served) await(t *testing.T, metric string) {
	t.Helper()
	eventually.True(t, metric, func() bool { return strings.Contains(d.get(t, "/metrics"), metric+"\n") })
}

func (d *served) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + d.health + path)
	return readAll(t, resp, err)
}

func (d *served) login(t *testing.T, agentID int64, token string) string {
	t.Helper()
	resp, err := d.client.Post("https://"+d.reviews+"/authenticate", "application/json", strings.NewReader(fmt.Sprintf(
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"ci:%d:%s"}}`, agentID, token)))
	return readAll(t, resp, err)
}

func (d *served) review(t *testing.T, jobID int64) string {
	t.Helper()
	resp, err := d.client.Post("https://"+d.reviews+"/authorize", "application/json", strings.NewReader(fmt.Sprintf(
		`{"kind":"SubjectAccessReview","apiVersion":"authorization.k8s.io/v1","spec":{"user":"u","resourceAttributes":{"verb":"get","resource":"pods"},`+
			`"extra":{"agent.gitlab.com/ci_job_id":["%d"],"agent.gitlab.com/id":["4"],"agent.gitlab.com/project_id":["150"]}}}`, jobID)))
	return readAll(t, resp, err)
}

func readAll(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// freeAddress is one that was free a moment ago; jobgate logs the address it cannot have.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
