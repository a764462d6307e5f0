package gitlab_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

// serving answers every request with the body, as JSON.
func serving(t *testing.T, body []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// listing is a reply that lists these entries.
func listing(entries ...string) []byte {
	return []byte(with(`{"job"`, `{"allowed_agents":[`+strings.Join(entries, ",")+`],"job"`))
}

// entry is an agent's, with a configuration of about that many bytes.
func entry(id, size int) string {
	return fmt.Sprintf(`{"id":%d,"config_project":{"id":7},"configuration":{"environments":["%s"]}}`, id, strings.Repeat("e", size))
}

// foreign are entries of agents that are not configured.
func foreign(n, size int) []string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = entry(1000+i, size)
	}
	return entries
}

// Other people's agents used to make the reply too large for everyone who may use them.
func TestIdentify_OtherAgentsCostNothing(t *testing.T) {
	body := listing(append(foreign(120, 120<<10), entry(4, 10))...)
	c := newClient(t, serving(t, body), func(o *gitlab.Options) { o.Agents = []int64{4} })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	j, err := c.Identify(t.Context(), "token", nil, job.Logins)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Agents) != 1 || j.Agents[0].ID != 4 || len(j.Agents[0].Configuration.Environments) != 1 {
		t.Errorf("agents are %+v, want the configured one alone", j.Agents)
	}
	// The server of the test allocates in the same process, but not a copy of the body.
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 2<<20 {
		t.Errorf("%d KiB were allocated for a reply of %d KiB", allocated>>10, len(body)>>10)
	}
}

func TestIdentify_KeepsConfiguredAgents(t *testing.T) {
	c := newClient(t, serving(t, listing(entry(4, 1), entry(5, 2), entry(6, 70<<10), entry(5, 3))), func(o *gitlab.Options) {
		o.Agents = []int64{5, 6, 7}
	})
	j, err := c.Identify(t.Context(), "token", nil, job.Logins)
	if err != nil {
		t.Fatal(err)
	}
	if len(j.Agents) != 2 || j.Agent(5) == nil || j.Agent(6) == nil {
		t.Fatalf("agents are %+v, want 5 and 6", j.Agents)
	}
	if diff := cmp.Diff([]string{"ee"}, j.Agent(5).Configuration.Environments); diff != "" {
		t.Errorf("the first entry of an agent counts (-want +got):\n%s", diff)
	}
	if a := j.Agent(6); !errors.Is(a.Err, job.ErrConfiguration) || a.Configuration != nil {
		t.Errorf("agent with too large a configuration is %+v", a)
	}
}

func TestIdentify_NoAgentConfigured(t *testing.T) {
	c := newClient(t, serving(t, listing(entry(4, 1))), func(o *gitlab.Options) { o.Agents = []int64{} })
	if j, err := c.Identify(t.Context(), "token", nil, job.Logins); err != nil || len(j.Agents) != 0 {
		t.Errorf("job is %+v, %v; want no agents", j, err)
	}
}

// A job's memory must not follow the size of the agent's configuration, as long as others have the same.
func TestIdentify_EqualConfigurationsAreStoredOnce(t *testing.T) {
	var environments []string
	for i := range 1000 {
		environments = append(environments, fmt.Sprintf(`"%s-%d"`, strings.Repeat("e", 50), i))
	}
	body := listing(fmt.Sprintf(`{"id":4,"config_project":{"id":7},"configuration":{"environments":[%s]}}`, strings.Join(environments, ",")))
	c := newClient(t, serving(t, body), func(o *gitlab.Options) { o.Agents = []int64{4} })
	const jobs = 500
	known := make([]*job.Job, 0, jobs)
	identify := func() {
		j, err := c.Identify(t.Context(), "token", nil, job.Logins)
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, j)
	}
	identify()
	before := liveHeap()
	for range jobs {
		identify()
	}
	each := (liveHeap() - before) / jobs
	if each > 1500 {
		t.Errorf("each further job takes %d bytes", each)
	}
	if known[0].Agents[0].Configuration != known[jobs].Agents[0].Configuration {
		t.Error("two jobs have a configuration each")
	}
	t.Logf("each job takes %d bytes, the configuration %d as JSON", each, len(body))
}

func liveHeap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What was known of the job before is kept where it is the same, so that a refresh costs no memory.
func TestIdentify_SharesWithTheAnswerBefore(t *testing.T) {
	s, token := start(t, nil)
	c := newClient(t, s.URL(), nil)
	before, err := c.Identify(t.Context(), token, nil, job.Logins)
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.Identify(t.Context(), token, before, job.Refreshes)
	if err != nil {
		t.Fatal(err)
	}
	if &before.Groups.Value[0] != &after.Groups.Value[0] || &before.Roles.Value[0] != &after.Roles.Value[0] {
		t.Error("groups and roles are stored twice")
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("job (-before +after):\n%s", diff)
	}
}
