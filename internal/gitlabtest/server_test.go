package gitlabtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// trusting is a client that trusts the server's CA and nothing else.
func trusting(t testing.TB, s *gitlabtest.Server) *gitlab {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CACertPEM()) {
		t.Fatal("no CA")
	}
	return withClient(t, s, &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	})
}

func TestServer_WithTLSIsTrustedThroughItsCAAlone(t *testing.T) {
	g := start(t, gitlabtest.Options{Instance: example(openToProject), TLS: true})
	if got := trusting(t, g.Server).getAs(job, lookup); got.StatusCode != http.StatusOK {
		t.Errorf("status %d", got.StatusCode)
	}
	other := start(t, gitlabtest.Options{TLS: true})
	_, err := trusting(t, other.Server).client.Do(g.request(http.MethodGet, lookup))
	if unknown := (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
		t.Errorf("with another server's CA: %v", err)
	}
}

func TestServer_WithoutTLSHasNoCA(t *testing.T) {
	if pem := startInstance(t, gitlabtest.Instance{}).CACertPEM(); len(pem) != 0 {
		t.Errorf("CA %s", pem)
	}
}

func TestStart_RefusesWhatItCannotServe(t *testing.T) {
	tests := []struct {
		name    string
		options gitlabtest.Options
	}{
		{"a relative root without slash", gitlabtest.Options{RelativeURLRoot: "gitlab"}},
		{"a release that is no version", gitlabtest.Options{
			Instance: gitlabtest.Instance{Settings: gitlabtest.Settings{Release: "latest"}},
		}},
		{"a release of one number", gitlabtest.Options{
			Instance: gitlabtest.Instance{Settings: gitlabtest.Settings{Release: "19"}},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if s, err := gitlabtest.Start(test.options); err == nil {
				s.Close()
				t.Errorf("it serves at %s", s.URL())
			}
		})
	}
}

func TestInstance_IsACopy(t *testing.T) {
	g := startInstance(t, example(openToProject))
	before := g.Instance()
	changed := g.Instance()
	changed.Jobs[0].Status = "failed"
	changed.Users[0].Access[project] = 10
	changed.Projects[0].Environments[0].Slug = "changed"
	if diff := cmp.Diff(before, g.Instance()); diff != "" {
		t.Error(diff)
	}
}

func TestUpdate_KeepsNothingOfTheCaller(t *testing.T) {
	g := startInstance(t, example(openToProject))
	var kept *gitlabtest.Instance
	scopes := []string{"api"}
	g.mustUpdate(func(w *gitlabtest.Instance) {
		kept = w
		w.Tokens[0].Scopes = scopes
	})
	before := g.Instance()
	kept.Jobs[0].Status, scopes[0] = "failed", "none"
	kept.Users[0].Access[project] = 10
	if diff := cmp.Diff(before, g.Instance()); diff != "" {
		t.Error(diff)
	}
}

func TestUpdate_IsAtomicUnderConcurrency(t *testing.T) {
	const updaters, updates = 8, 25
	g := startInstance(t, example(openToProject))
	token := g.token(job)
	var group sync.WaitGroup
	for range updaters {
		group.Go(func() {
			for range updates {
				if err := g.Update(func(w *gitlabtest.Instance) { w.Job(job).Pipeline.ID++ }); err != nil {
					t.Error(err)
				}
				if got := g.get(lookup, "JOB-TOKEN", token); got.StatusCode != http.StatusOK {
					t.Errorf("status %d", got.StatusCode)
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

func TestCalls_CountByEndpoint(t *testing.T) {
	g := startInstance(t, example(openToProject))
	for _, path := range []string{
		lookup, lookup, "/job", environmentPath, branchesPath, branchesPath + "/main", tagsPath + "/v1.0",
		groupsPath, "/nothing",
	} {
		g.getAs(job, path)
	}
	got := map[string]int{}
	want := map[string]int{
		gitlabtest.AllowedAgents: 2, gitlabtest.CurrentJob: 1, gitlabtest.Environments: 1, gitlabtest.Branches: 1,
		gitlabtest.Branch: 1, gitlabtest.Tag: 1, gitlabtest.ProjectGroups: 1, "": 1, gitlabtest.AnyEndpoint: 9,
	}
	for endpoint := range want {
		got[endpoint] = g.Calls(endpoint)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	g.ResetCalls()
	if n := g.Calls(gitlabtest.AnyEndpoint); n != 0 || len(g.Requests(gitlabtest.AnyEndpoint)) != 0 {
		t.Errorf("%d calls after the reset", n)
	}
}

func TestRequests_ShowWhatWasSent(t *testing.T) {
	g := startInstance(t, example(openToProject))
	g.Fault(gitlabtest.BadGateway())
	g.get(lookup+"?a=%2F", "JOB-TOKEN", "glcbt-64_sent", "Accept", "application/json")
	g.get("/nothing")
	got := g.Requests(gitlabtest.AllowedAgents)
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	if got[0].Method != http.MethodGet || got[0].URI != "/api/v4/job/allowed_agents?a=%2F" ||
		got[0].Endpoint != gitlabtest.AllowedAgents {
		t.Errorf("%+v", got[0])
	}
	if diff := cmp.Diff([]string{"glcbt-64_sent"}, got[0].Header["Job-Token"]); diff != "" {
		t.Error(diff)
	}
	if all := g.Requests(gitlabtest.AnyEndpoint); len(all) != 2 || all[1].Endpoint != "" {
		t.Errorf("all: %+v", all)
	}
}

func TestRequests_AreTheLatestTenThousand(t *testing.T) {
	const sent, kept = 10_050, 10_000
	g := startInstance(t, gitlabtest.Instance{})
	for i := range sent {
		g.get(fmt.Sprintf("/job?n=%d", i))
	}
	got := g.Requests(gitlabtest.CurrentJob)
	if len(got) != kept || got[0].URI != "/api/v4/job?n=50" || got[kept-1].URI != "/api/v4/job?n=10049" {
		t.Errorf("%d requests, from %s to %s", len(got), got[0].URI, got[len(got)-1].URI)
	}
	if n := g.Calls(gitlabtest.CurrentJob); n != sent {
		t.Errorf("%d calls counted", n)
	}
}

func TestClose_MayBeCalledAgain(t *testing.T) {
	g := startInstance(t, example(openToProject))
	g.Close()
	g.Close()
	if _, err := g.client.Do(g.request(http.MethodGet, lookup)); err == nil {
		t.Error("it still serves")
	}
}

func TestClose_WaitsForWhatIsBeingAnswered(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var finished atomic.Bool
	w := example(openToProject)
	w.Jobs[0].TokenFormat = "database"                                    // which takes no clock to make
	g := start(t, gitlabtest.Options{Instance: w, Now: func() time.Time { // read by every answer
		close(entered)
		<-release
		finished.Store(true)
		return time.Now()
	}})
	go func() {
		response, err := g.client.Do(g.request(http.MethodGet, lookup, "JOB-TOKEN", g.token(job)))
		if err == nil {
			response.Body.Close()
			t.Error("answered after all")
		}
		close(release) // now that Close has cut the connection
	}()
	<-entered
	g.Close()
	if !finished.Load() {
		t.Error("it is still being answered")
	}
}

func TestNew_ServesUntilTheTestEnds(t *testing.T) {
	var url string
	t.Run("inner", func(t *testing.T) {
		url = gitlabtest.New(t, example(openToProject)).URL()
	})
	g := startInstance(t, gitlabtest.Instance{})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.client.Do(r); err == nil {
		t.Error("it still serves")
	}
}

func TestInstance_Lookups(t *testing.T) {
	w := example("")
	if w.Job(job) != &w.Jobs[0] || w.Project(agentProject) != &w.Projects[1] || w.Agent(agent) != &w.Agents[0] ||
		w.User(developer) != &w.Users[0] || w.Group(nestedGroup) != &w.Groups[1] ||
		w.Project(project).Environment("prod") != &w.Projects[0].Environments[0] {
		t.Error("a lookup does not point into the instance")
	}
	if w.Job(1) != nil || w.Project(1) != nil || w.Agent(1) != nil || w.User(1) != nil || w.Group(1) != nil ||
		w.Project(project).Environment("none") != nil {
		t.Error("a lookup found what is not there")
	}
}
