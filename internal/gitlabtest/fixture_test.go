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

// Ids of docsInstance.
const (
	rootGroup    = 23
	nestedGroup  = 25
	project      = 150
	agentProject = 7
	developer    = 9
	agent        = 42
	job          = 1001
)

const patToken = "glpat-of-the-developer"

// docsInstance is the example of GitLab's impersonation docs: group1/group1-1/project1 with a job in environment prod, and
// one agent, of another project in group1, that the configuration opens to the project.
func docsInstance(config string) gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups: []gitlabtest.Group{
			{ID: rootGroup, Path: "group1"},
			{ID: nestedGroup, Parent: rootGroup, Path: "group1/group1-1"},
		},
		Projects: []gitlabtest.Project{
			{
				ID: project, Group: nestedGroup, Path: "group1/group1-1/project1",
				Branches: []string{"main", "feature/x"}, ProtectedBranches: []string{"main", "release-*"},
				Tags: []string{"v1.0", "nightly"}, ProtectedTags: []string{"v*"},
				Environments: []gitlabtest.Environment{{ID: 11, Name: "prod"}, {ID: 12, Name: "review/fix-foo"}},
			},
			{ID: agentProject, Group: rootGroup, Path: "group1/agents"},
		},
		Users:  []gitlabtest.User{{ID: developer, Username: "jdoe", Access: map[int64]int{project: 30}}},
		Agents: []gitlabtest.Agent{{ID: agent, Name: "prod-agent", Project: agentProject, Config: config}},
		Jobs: []gitlabtest.Job{{
			ID: job, Project: project, User: developer, Status: "running", Environment: "prod",
			Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main"},
		}},
		Tokens: []gitlabtest.AccessToken{{Token: patToken, User: developer, Scopes: []string{"read_api"}}},
	}
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
