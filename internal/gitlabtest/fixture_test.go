package gitlabtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Short names of the ids in the example.
const (
	nestedGroup  = gitlabtest.ExampleGroup
	project      = gitlabtest.ExampleProject
	agentProject = gitlabtest.ExampleAgentProject
	developer    = gitlabtest.ExampleUser
	agent        = gitlabtest.ExampleAgent
	job          = gitlabtest.ExampleJob
	patToken     = gitlabtest.ExampleToken
)

// example is gitlabtest.Example with another configuration of its agent.
func example(config string) gitlabtest.Instance {
	w := gitlabtest.Example()
	w.Agents[0].Config = config
	return w
}

const (
	openToProject = "ci_access: {projects: [{id: group1/group1-1/project1}]}"
	lookup        = "/job/allowed_agents"
)

// gitlab is a running fake with a client for it.
type gitlab struct {
	*gitlabtest.Server
	t      testing.TB
	client *http.Client
}

func start(t testing.TB, options gitlabtest.Options) *gitlab {
	t.Helper()
	s, err := gitlabtest.Start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return withClient(t, s, &http.Transport{})
}

func startInstance(t testing.TB, w gitlabtest.Instance) *gitlab {
	t.Helper()
	return start(t, gitlabtest.Options{Instance: w})
}

func withClient(t testing.TB, s *gitlabtest.Server, transport *http.Transport) *gitlab {
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return &gitlab{Server: s, t: t, client: client}
}

// reply is an answer that was read to its end.
type reply struct {
	*http.Response
	body string
}

// request makes one; headers are names and values in turn.
func (g *gitlab) request(method, path string, headers ...string) *http.Request {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.URL()+"/api/v4"+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func (g *gitlab) get(path string, headers ...string) reply {
	g.t.Helper()
	return g.do(g.request(http.MethodGet, path, headers...))
}

func (g *gitlab) do(r *http.Request) reply {
	g.t.Helper()
	response, err := g.client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return reply{response, string(body)}
}

// getAs asks with a job's present token.
func (g *gitlab) getAs(job int64, path string) reply {
	g.t.Helper()
	return g.get(path, "JOB-TOKEN", g.token(job))
}

func (g *gitlab) token(job int64) string {
	g.t.Helper()
	w := g.Instance()
	found := w.Job(job)
	if found == nil {
		g.t.Fatalf("no job %d", job)
	}
	return found.Token
}

func (g *gitlab) mustUpdate(change func(*gitlabtest.Instance)) {
	g.t.Helper()
	if err := g.Update(change); err != nil {
		g.t.Fatal(err)
	}
}

// decoded is the body as JSON, with numbers as they are written.
func (r reply) decoded(t testing.TB) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(r.body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("reading %q: %v", r.body, err)
	}
	return value
}

// agents are the ids and configurations of a successful lookup, in its order.
func (r reply) agents(t testing.TB) []listedAgent {
	t.Helper()
	if r.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", r.StatusCode, r.body)
	}
	var lookup struct {
		AllowedAgents []struct {
			ID            int64           `json:"id"`
			Configuration json.RawMessage `json:"configuration"`
		} `json:"allowed_agents"`
	}
	if err := json.Unmarshal([]byte(r.body), &lookup); err != nil {
		t.Fatal(err)
	}
	found := []listedAgent{}
	for _, a := range lookup.AllowedAgents {
		found = append(found, listedAgent{a.ID, string(a.Configuration)})
	}
	return found
}

type listedAgent struct {
	ID            int64
	Configuration string
}

func ids(agents []listedAgent) []int64 {
	found := []int64{}
	for _, a := range agents {
		found = append(found, a.ID)
	}
	return found
}
