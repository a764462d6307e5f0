package e2e_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/tracingtest"
)

// Both record everything: the API server its requests, and jobgate the reviews of a job's. No token leaves with them.
// kube-apiserver does not say to these webhooks which request they serve, as docs/operations.md tells. When it begins to, this
// test fails, and the page can promise one trace.
func TestTraces_OfAPIServerAndJobgate(t *testing.T) {
	collector := tracingtest.Start(t)
	file := collector.Configuration(t)
	jobgate, err := site.StartJobgate(t.Context(), "jobgate-traced", nil, "--tracing-config-file="+file)
	if err != nil {
		t.Fatal(err)
	}
	options := jobgate.APIServer("kube-apiserver-traced")
	options.ExtraArgs = append(options.ExtraArgs, "--tracing-config-file="+file)
	server, err := site.Plane.StartAPIServer(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	j := loggedInTo(t, server, gitlabtest.Job{}, ciJobContext)
	whoami(t, j.Workspace)
	if err := jobgate.Stop(); err != nil { // it sends what is left
		t.Fatal(err)
	}

	reviews, requests := map[string]bool{}, map[string]bool{}
	eventually.True(t, "reviews and requests are recorded", func() bool {
		for _, s := range collector.Spans() {
			switch trace := hex.EncodeToString(s.GetTraceId()); s.GetName() {
			case "authenticate", "authorize", "lookup", "api/v4/job/allowed_agents":
				reviews[trace] = true
			case "POST /apis/authentication.k8s.io/v1/selfsubjectreviews": // kubectl auth whoami
				requests[trace] = true
			}
		}
		return len(reviews) >= 2 && len(requests) > 0
	})
	for trace := range reviews {
		if requests[trace] {
			t.Error("a review is in the trace of the API server's request: say so in docs/operations.md")
		}
	}
	if strings.Contains(collector.Text(t), j.Token) {
		t.Error("a token left with the traces")
	}
}
