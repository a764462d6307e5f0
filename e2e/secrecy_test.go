package e2e_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// jobgate runs with -v=10 in all these tests. After they have ended, TestMain looks through its log once more for every
// token of the whole run.
func TestSecrecy_NoTokenInLogOrMetrics(t *testing.T) {
	accepted := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	whoami(t, accepted.Workspace)
	ended := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	ended.end(t)
	wantUnauthorized(t, ended.Workspace)
	echoed := loggedIn(t, gitlabtest.Job{}, ciJobContext)
	recoverNow := unwell(t, gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 400, EchoToken: true})
	wantUnauthorized(t, echoed.Workspace)
	recoverNow()
	eventually.Succeeds(t, func() error { return checkLoggedIn(t, echoed.Workspace) })

	log, err := os.ReadFile(site.Jobgate.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := site.Jobgate.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), strconv.FormatInt(accepted.ID, 10)) {
		t.Error("the log does not name the job that logged in: it says too little for this test to mean anything")
	}
	if !strings.Contains(metrics, "\njobgate_") {
		t.Error("the metrics have nothing of jobgate's")
	}
	for token, owner := range allTokens() {
		// No part of a token may show; its end is random in every format, unlike its beginning.
		secret := token[max(0, len(token)-12):]
		if strings.Contains(string(log), secret) {
			t.Errorf("the log shows the token of %s", owner)
		}
		if strings.Contains(metrics, secret) {
			t.Errorf("the metrics show the token of %s", owner)
		}
	}
}
