package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/job"
)

// A change of gitlab.url waits for a restart. The access token of the new GitLab is not shown to the old one meanwhile, be it in
// another file or in the same.
func TestReload_NewAccessTokenWaitsForTheNewURL(t *testing.T) {
	var shown []string
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("PRIVATE-TOKEN"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"message":"404 Not found"}`))
	}))
	defer old.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	write := func(name, token string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	read := func(url, tokenFile string) *config.Configuration {
		cfg, err := config.Parse(file, fmt.Appendf(nil, `{apiVersion: jobgate.io/v1alpha1, kind: Configuration, agents: [{id: 4}],
			gitlab: {url: %q, allowPlainHTTP: true, tokenFile: %q}, serving: {certFile: x, keyFile: x}}`, url, tokenFile))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	started := read(old.URL, write("token", "of-the-old-one"))
	c, err := newCore(started, "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newReloader(file, prometheus.NewRegistry())
	r.started, r.core = started, c
	ask := func() { _, _ = c.client.Status(t.Context(), 150, 1001, job.Refreshes) }
	ask()
	for _, step := range []struct{ url, file, token string }{
		{url: "http://new.invalid", file: "new-token", token: "of-the-new-one"},
		{url: "http://new.invalid", file: "token", token: "of-the-new-one"},
		{url: old.URL, file: "token", token: "another-of-the-old-one"},
	} {
		if err := r.apply(read(step.url, write(step.file, step.token))); err != nil {
			t.Fatal(err)
		}
		ask()
	}
	if diff := cmp.Diff([]string{"of-the-old-one", "of-the-old-one", "of-the-old-one", "another-of-the-old-one"}, shown); diff != "" {
		t.Errorf("tokens that the old GitLab has seen (-want +got):\n%s", diff)
	}
	c.client.Close()
}
