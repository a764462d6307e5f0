package webhook_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobgate/jobgate/webhook"
)

// Profiles are on the health address, and only where they were asked for.
func TestServer_Profiles(t *testing.T) {
	for _, row := range []struct {
		name      string
		profiling bool
		status    int
	}{
		{"by default", false, http.StatusNotFound},
		{"asked for", true, http.StatusOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPKI(t)
			s, err := webhook.NewServer(webhook.Options{
				Address: "127.0.0.1:0", HealthAddress: "127.0.0.1:0", TLS: p.serve(t, nil), Handler: http.NotFoundHandler(),
				Metrics: prometheus.NewRegistry(), Profiling: row.profiling,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			health := "http://" + s.HealthAddress().String()
			for path, content := range map[string]string{
				"/debug/pprof/":                     "/debug/pprof/",
				"/debug/pprof/goroutine?debug=1":    "TestServer_Profiles",
				"/debug/pprof/heap":                 "",
				"/debug/pprof/profile?seconds=1":    "",
				"/debug/pprof/trace?seconds=0.1":    "",
				"/debug/pprof/symbol?0x1":           "num_symbols",
				"/debug/pprof/allocs?debug=1":       "heap profile",
				"/debug/pprof/threadcreate?debug=1": "threadcreate profile",
			} {
				code, body := get(t, health+path)
				if code != row.status || row.profiling && !strings.Contains(body, content) {
					t.Errorf("%s: status %d, want %d: %.100s", path, code, row.status, body)
				}
			}
			if code, _ := get(t, health+"/livez"); code != http.StatusOK {
				t.Errorf("/livez: status %d", code)
			}
			http.DefaultClient.CloseIdleConnections()
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}
