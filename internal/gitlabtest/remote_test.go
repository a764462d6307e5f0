package gitlabtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// controlled is a fake with a Remote for it, and the control's URL.
func controlled(t *testing.T, options gitlabtest.Options) (*gitlab, *gitlabtest.Remote, string) {
	t.Helper()
	g := start(t, options)
	url, err := g.ServeControl("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	remote := gitlabtest.Dial(url + "/")
	t.Cleanup(remote.Close)
	return g, remote, url
}

func must[T any](value T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func TestRemote_DoesWhatTheServerDoes(t *testing.T) {
	w := docsInstance(openToProject)
	w.Jobs[0].TokenFormat = "jwt"
	w.Jobs[0].Pipeline.ID = 1<<62 + 1
	g, remote, _ := controlled(t, gitlabtest.Options{Instance: w, TLS: true, RelativeURLRoot: "/gitlab"})
	g = trusting(t, g.Server)

	if diff := cmp.Diff(g.URL(), must(remote.URL())(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(g.CACertPEM(), must(remote.CACertPEM())(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(g.Instance(), must(remote.Instance())(t)); diff != "" {
		t.Error(diff)
	}

	if err := remote.Update(func(w *gitlabtest.Instance) { w.Job(job).Status = "canceling" }); err != nil {
		t.Fatal(err)
	}
	changed := g.Instance()
	if got := changed.Job(job); got.Status != "canceling" || got.Pipeline.ID != 1<<62+1 {
		t.Errorf("after the update: %+v", got.Pipeline)
	}

	faults := []gitlabtest.Fault{
		{Endpoint: gitlabtest.AllowedAgents, Status: 500, Calls: 1},
		{Endpoint: gitlabtest.AllowedAgents, Status: 502, Delay: time.Millisecond, Header: map[string]string{"A": "b"}},
	}
	if err := remote.Fault(faults...); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{500, 502, 502} {
		if got := g.getAs(job, lookup); got.StatusCode != want {
			t.Errorf("status %d, want %d", got.StatusCode, want)
		}
	}
	if err := remote.ClearFaults(); err != nil {
		t.Fatal(err)
	}
	if got := g.getAs(job, lookup); got.StatusCode != http.StatusOK {
		t.Errorf("status %d after clearing", got.StatusCode)
	}

	g.getAs(job, "/job")
	if n := must(remote.Calls(gitlabtest.AllowedAgents))(t); n != 4 {
		t.Errorf("%d lookups", n)
	}
	if n := must(remote.Calls(gitlabtest.AnyEndpoint))(t); n != 5 {
		t.Errorf("%d calls", n)
	}
	if diff := cmp.Diff(g.Requests(gitlabtest.CurrentJob), must(remote.Requests(gitlabtest.CurrentJob))(t)); diff != "" {
		t.Error(diff)
	}
	if err := remote.ResetCalls(); err != nil {
		t.Fatal(err)
	}
	if n := must(remote.Calls(gitlabtest.AnyEndpoint))(t); n != 0 {
		t.Errorf("%d calls after the reset", n)
	}
	if diff := cmp.Diff(must(g.Kubeconfig(job, tunnel))(t), must(remote.Kubeconfig(job, tunnel))(t)); diff != "" {
		t.Error(diff)
	}
}

func TestRemote_SaysWhyThereIsNoKubeconfig(t *testing.T) {
	_, remote, _ := controlled(t, gitlabtest.Options{Instance: docsInstance("")})
	if _, err := remote.Kubeconfig(job, tunnel); !errors.Is(err, gitlabtest.ErrNoKubeconfig) {
		t.Errorf("without agents: %v", err)
	}
	if _, err := remote.Kubeconfig(1, tunnel); !errors.Is(err, gitlabtest.ErrNoJob) {
		t.Errorf("without job: %v", err)
	}
	w := docsInstance(entry("groups", "group1", ", environments: ['(*']"))
	_, broken, _ := controlled(t, gitlabtest.Options{Instance: w})
	if _, err := broken.Kubeconfig(job, tunnel); err == nil || errors.Is(err, gitlabtest.ErrNoKubeconfig) {
		t.Errorf("with a broken pattern: %v", err)
	}
}

func TestRemote_LosesNoUpdate(t *testing.T) {
	const updaters, updates = 4, 10
	g, remote, _ := controlled(t, gitlabtest.Options{Instance: docsInstance(openToProject)})
	var group sync.WaitGroup
	for range updaters {
		group.Go(func() {
			for range updates {
				if err := remote.Update(func(w *gitlabtest.Instance) { w.Job(job).Pipeline.ID++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	got := g.Instance()
	if want := int64(501 + updaters*updates); got.Job(job).Pipeline.ID != want {
		t.Errorf("%d updates were lost", want-got.Job(job).Pipeline.ID)
	}
}

func TestRemote_ReportsARefusedUpdateAtOnce(t *testing.T) {
	g, remote, _ := controlled(t, gitlabtest.Options{Instance: docsInstance(openToProject)})
	before, tries := g.Instance(), 0
	err := remote.Update(func(w *gitlabtest.Instance) {
		tries++
		w.Jobs[0].Project = 1
	})
	if err == nil || tries != 1 {
		t.Errorf("error %v after %d tries", err, tries)
	}
	if diff := cmp.Diff(before, g.Instance()); diff != "" {
		t.Error(diff)
	}
}

func TestRemote_FailsWithoutAServer(t *testing.T) {
	g, remote, _ := controlled(t, gitlabtest.Options{})
	g.Close()
	errs := map[string]error{
		"Update":      remote.Update(func(*gitlabtest.Instance) {}),
		"Fault":       remote.Fault(gitlabtest.BadGateway()),
		"ClearFaults": remote.ClearFaults(),
		"ResetCalls":  remote.ResetCalls(),
	}
	_, errs["URL"] = remote.URL()
	_, errs["CACertPEM"] = remote.CACertPEM()
	_, errs["Instance"] = remote.Instance()
	_, errs["Calls"] = remote.Calls(gitlabtest.AnyEndpoint)
	_, errs["Requests"] = remote.Requests(gitlabtest.AnyEndpoint)
	_, errs["Kubeconfig"] = remote.Kubeconfig(job, tunnel)
	for method, err := range errs {
		if err == nil {
			t.Errorf("%s has worked", method)
		}
	}
}

func TestControl_SpeaksHTTP(t *testing.T) {
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		answer                   string // a part of it
	}{
		{"server", "GET", "/server", "", nil, 200, `"url":"http://127.0.0.1:`},
		{"instance", "GET", "/world", "", nil, 200, `"id":1001`},
		{"replaced instance", "PUT", "/world", `{"settings":{}}`, nil, 204, ""},
		{"replaced instance of another revision", "PUT", "/world", `{"settings":{}}`, []string{"If-Match", `"other-1"`}, 412,
			"changed"},
		{"instance that no GitLab holds", "PUT", "/world", `{"settings":{},"jobs":[{"id":1,"project":2,"status":"running"}]}`,
			nil, 400, "project 2 does not exist"},
		{"instance with a misspelt key", "PUT", "/world", `{"setings":{}}`, nil, 400, "setings"},
		{"instance that is no JSON", "PUT", "/world", `settings:`, nil, 400, "reading the body"},
		{"fault", "POST", "/faults", `{"endpoint":"GET /job","status":500,"delay":"1ms"}`, nil, 204, ""},
		{"fault of an unknown endpoint", "POST", "/faults", `{"endpoint":"GET /jobs"}`, nil, 400, "unknown endpoint"},
		{"fault with a misspelt key", "POST", "/faults", `{"endpoint":"*","hangs":true}`, nil, 400, "hangs"},
		{"no faults", "DELETE", "/faults", "", nil, 204, ""},
		{"calls", "GET", "/calls", "", nil, 200, `{"calls":0}`},
		{"calls of an endpoint", "GET", "/calls?endpoint=GET%20/job", "", nil, 200, `{"calls":0}`},
		{"no calls", "DELETE", "/calls", "", nil, 204, ""},
		{"requests", "GET", "/requests", "", nil, 200, `[]`},
		{"kubeconfig", "GET", "/kubeconfig?job=1001&url=https://kas/", "", nil, 200, "token: ci:42:glcbt-"},
		{"kubeconfig of no number", "GET", "/kubeconfig?job=x", "", nil, 400, "not a number"},
		{"status", "POST", "/jobs/1001/status?to=success", "", nil, 204, ""},
		{"status of no job", "POST", "/jobs/1/status?to=success", "", nil, 404, "no such job"},
		{"status of no number", "POST", "/jobs/x/status?to=success", "", nil, 400, "not a number"},
		{"unknown status", "POST", "/jobs/1001/status?to=done", "", nil, 400, "unknown status"},
		{"unknown path", "GET", "/nothing", "", nil, 404, ""},
		{"unknown method", "POST", "/world", "", nil, 405, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g, _, control := controlled(t, gitlabtest.Options{Instance: docsInstance(openToProject)})
			r, err := http.NewRequestWithContext(t.Context(), test.method, control+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(test.header); i += 2 {
				r.Header.Set(test.header[i], test.header[i+1])
			}
			got := g.do(r)
			if got.StatusCode != test.status || !strings.Contains(got.body, test.answer) {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, test.status, test.answer)
			}
		})
	}
}

func TestControl_ChangesAJobsStatus(t *testing.T) {
	g, _, control := controlled(t, gitlabtest.Options{Instance: docsInstance(openToProject)})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, control+"/jobs/1001/status?to=success", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	g.do(r)
	if got := g.getAs(job, lookup); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", got.StatusCode)
	}
}

func TestControl_BoundsTheFaults(t *testing.T) {
	g, remote, _ := controlled(t, gitlabtest.Options{})
	many := make([]gitlabtest.Fault, 1000)
	for i := range many {
		many[i] = gitlabtest.BadGateway()
	}
	g.Fault(many...)
	if err := remote.Fault(gitlabtest.BadGateway()); err == nil {
		t.Error("the 1001st was taken")
	}
}

func TestControl_IsLoopbackOnly(t *testing.T) {
	g := startInstance(t, gitlabtest.Instance{})
	for _, addr := range []string{":0", "192.0.2.1:0", "127.0.0.1"} {
		if url, err := g.ServeControl(addr); err == nil {
			t.Errorf("at %s it serves %s", addr, url)
		}
	}
}

func TestClose_EndsTheRemoteControl(t *testing.T) {
	g, _, control := controlled(t, gitlabtest.Options{Instance: docsInstance(openToProject)})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, control+"/world", nil)
	if err != nil {
		t.Fatal(err)
	}
	half, rest := io.Pipe() // an update that is under way
	r.Body = half
	outcome := make(chan error, 1)
	go func() {
		response, err := g.client.Do(r)
		if err == nil {
			response.Body.Close()
		}
		outcome <- err
	}()
	if _, err := rest.Write([]byte(`{"settings":`)); err != nil {
		t.Fatal(err)
	}
	g.Close()
	rest.Close() // the client waits for its body before it reports that the server has gone
	if err := <-outcome; err == nil {
		t.Error("the update was answered")
	}
}
