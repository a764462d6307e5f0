package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/sandbox"
)

// Two control-plane nodes share one etcd. Each has an API server and two instances of jobgate. What fails on one node concerns the
// requests that reach this node, and no others.
func TestInstances_TwoNodes(t *testing.T) {
	here := newTraffic(t, site.API)
	first, err := site.StartJobgate(t.Context(), "jobgate-of-another-node", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
	})
	both := twoInstances(t, first)
	server, err := site.Plane.StartAPIServer(t.Context(), first.APIServer("kube-apiserver-of-another-node"))
	if err != nil {
		t.Fatal(err)
	}
	there := newTraffic(t, server)
	known := mustCredential(t)
	wantAnswers(t, here, known)
	wantAnswers(t, there, known)

	t.Run("one of its jobgates is killed: nothing is refused", func(t *testing.T) {
		both[0].Kill()
		defer startAgain(t, both[0])
		eventually.Succeeds(t, func() error { return there.get(t.Context(), known) })
		wantAnswers(t, there, known, mustCredential(t), mustCredential(t))
	})
	t.Run("both are killed: this node refuses jobs, the other one does not", func(t *testing.T) {
		for _, j := range both {
			j.Kill()
			defer startAgain(t, j)
		}
		// The API server may have forgotten the login meanwhile.
		wantRefused(t, there, known, "500 Internal Server Error", "401 Unauthorized")
		wantRefused(t, there, mustCredential(t), "401 Unauthorized")
		wantAnswers(t, here, known, mustCredential(t))
	})
	eventually.Succeeds(t, func() error { return there.get(t.Context(), known) })
	t.Run("its configuration is older: each node obeys its own", func(t *testing.T) {
		blocked := mustCredential(t)
		wantAnswers(t, here, blocked)
		reconfigure(t, func(c *config.Configuration) { c.Blocked.Jobs = append(c.Blocked.Jobs, firstJob+jobCount.Load()-1) })
		wantRefused(t, here, blocked, "403 Forbidden")
		wantAnswers(t, there, blocked)
	})
	t.Run("its API server is killed: jobs that it logged in go on at the other one", func(t *testing.T) {
		onlyThere := mustCredential(t)
		wantAnswers(t, there, onlyThere)
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, there, onlyThere, "connection refused")
		wantAnswers(t, here, onlyThere)
	})
}

func startAgain(t *testing.T, j *sandbox.Jobgate) {
	t.Helper()
	if err := j.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

func wantAnswers(t *testing.T, l *traffic, bearers ...string) {
	t.Helper()
	for _, bearer := range bearers {
		if err := l.get(t.Context(), bearer); err != nil {
			t.Error(err)
		}
	}
}

// wantRefused fails unless the answer has one of the words.
func wantRefused(t *testing.T, l *traffic, bearer string, words ...string) {
	t.Helper()
	err := l.get(t.Context(), bearer)
	if err == nil || !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) }) {
		t.Errorf("got %v, want one of %q", err, words)
	}
}
