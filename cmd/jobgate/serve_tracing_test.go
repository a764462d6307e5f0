package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/tracing"
	"github.com/jobgate/jobgate/internal/tracingtest"
)

// A collector hears of a login, its lookup and the request to GitLab, and of a judged request, in the trace of the caller. No
// part of a token reaches it, whatever became of the token.
func TestServe_RecordsTracesWithoutTokens(t *testing.T) {
	gitlab := gitlabtest.New(t, gitlabtest.Example())
	w := gitlab.Instance()
	collector := tracingtest.Start(t)
	d := newServed(t, gitlab.URL())
	d.start(t, "--tracing-config-file", collector.Configuration(t))

	const caller = "4bf92f3577b34da6a3ce929d0e0e4736"
	d.client.Transport = traceparent{"00-" + caller + "-00f067aa0ba902b7-01", d.client.Transport}
	tokens := []string{w.Job(gitlabtest.ExampleJob).Token, "glcbt-64_unknownUnknownUnknown", "glcbt-64_repeatedRepeatedRep"}
	d.login(t, gitlabtest.ExampleAgent, tokens[0])
	d.review(t, gitlabtest.ExampleJob)
	d.login(t, gitlabtest.ExampleAgent, tokens[1])
	gitlab.Fault(gitlabtest.Fault{
		Endpoint: gitlabtest.AllowedAgents, Status: http.StatusUnauthorized, ContentType: "application/json",
		Body: fmt.Sprintf(`{"message":"401 Unauthorized %s"}`, tokens[2]),
	})
	d.login(t, gitlabtest.ExampleAgent, tokens[2])
	d.stop(t) // sends what is left

	var names []string
	for _, s := range collector.Spans() {
		names = append(names, s.GetName())
		if got := hex.EncodeToString(s.GetTraceId()); got != caller {
			t.Errorf("%s is in trace %s", s.GetName(), got)
		}
	}
	for name, least := range map[string]int{"authenticate": 3, "authorize": 1, "lookup": 3, "api/v4/job/allowed_agents": 3} {
		if got := len(slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s != name })); got < least {
			t.Errorf("%d spans %q, want at least %d; there are %q", got, name, least, names)
		}
	}
	sent := collector.Text(t)
	for _, token := range tokens {
		hash := sha256.Sum256([]byte(token))
		for _, part := range []string{
			token[len(token)-8:], token[9:17], hex.EncodeToString(hash[:])[:16], base64.StdEncoding.EncodeToString([]byte(token))[:16],
		} {
			if strings.Contains(sent, part) {
				t.Errorf("the collector was sent a part of a token:\n%s", sent)
			}
		}
	}
}

// The page's example is a file that the flag takes.
func TestOperations_TracingConfigurationIsValid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tracing.yaml")
	if err := os.WriteFile(file, []byte(block(t, operationsPage, "yaml tracing")), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := tracing.New(file, "v0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// traceparent sends the header of this name.
type traceparent struct {
	value string
	http.RoundTripper
}

func (h traceparent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("traceparent", h.value)
	return h.RoundTripper.RoundTrip(r)
}

// CloseIdleConnections is that of the transport below, so that stop finds it.
func (h traceparent) CloseIdleConnections() {
	if closer, ok := h.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}
